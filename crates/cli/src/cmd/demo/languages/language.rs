//! The languages, and the choice of `--languages` among them.

use std::str::FromStr;

/// A language that has a package for Kennel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    Shell,
    Rust,
    Python,
    C,
    Php,
    Node,
    Go,
    Ruby,
}

impl Language {
    const ALL: [Self; 8] =
        [Self::Shell, Self::Rust, Self::Python, Self::C, Self::Php, Self::Node, Self::Go, Self::Ruby];

    pub fn name(self) -> &'static str {
        match self {
            Self::Shell => "shell",
            Self::Rust => "Rust",
            Self::Python => "Python",
            Self::C => "C",
            Self::Php => "PHP",
            Self::Node => "Node.js",
            Self::Go => "Go",
            Self::Ruby => "Ruby",
        }
    }

    /// Its name on the command line.
    fn word(self) -> String {
        self.name().to_ascii_lowercase().replace(".js", "")
    }

    /// Where its package is described.
    pub fn page(self) -> &'static str {
        match self {
            Self::Shell | Self::Rust => "README.md",
            Self::Python => "crates/python/README.md",
            Self::C => "docs/c.md",
            Self::Php => "docs/php.md",
            Self::Node => "docs/node.md",
            Self::Go => "docs/go.md",
            Self::Ruby => "docs/ruby.md",
        }
    }
}

/// The languages that are to take part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Languages {
    /// All that this machine has.
    Found,
    /// These; it is a failure if one of them is missing.
    Named(Vec<Language>),
}

impl Languages {
    pub fn list(&self) -> &[Language] {
        match self {
            Self::Found => &Language::ALL,
            Self::Named(named) => named,
        }
    }
}

impl FromStr for Languages {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::Found);
        }
        let mut named = Vec::new();
        for word in text.split(',') {
            let language = Language::ALL.into_iter().find(|language| language.word() == word).ok_or_else(|| {
                format!("expected all, or some of {}, found {word:?}", Language::ALL.map(Language::word).join(","))
            })?;
            if !named.contains(&language) {
                named.push(language);
            }
        }
        Ok(Self::Named(named))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_language_is_named_by_one_word() {
        for language in Language::ALL {
            assert_eq!(language.word().parse(), Ok(Languages::Named(vec![language])));
        }
        assert_eq!("go,c,go".parse(), Ok(Languages::Named(vec![Language::Go, Language::C])));
        assert_eq!("all".parse(), Ok(Languages::Found));
        for wrong in ["", "go,", "cobol", "all,go"] {
            let error = wrong.parse::<Languages>().unwrap_err();
            assert!(error.starts_with("expected all, or some of shell,rust,"), "{error}");
        }
    }
}
