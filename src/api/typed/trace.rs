//! A deserializer without input: a type's `Deserialize` tells it what it reads, and gets made-up values.
//!
//! A run follows one path through the type: one variant of each enum, a value of each option, one element of each
//! sequence. [`shape`](super::shape) repeats runs until a run finds nothing new. Some field types refuse the made-up
//! values, as a date refuses most strings. Later runs leave such a field out, so that they see the fields after it,
//! too.

use serde::de::value::{Error, StrDeserializer, U32Deserializer};
use serde::de::{self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess};
use serde::de::{VariantAccess, Visitor};

/// How many questions one type may ask in all runs together. The trace of an infinite type is cut off there.
const MOST_QUESTIONS: u32 = 1 << 16;
/// How many types may be nested. A type nested more deeply contains itself.
const DEEPEST: usize = 128;
/// A type that is nested within itself more often than this gets no optional parts any more.
const OFTEN: usize = 2;

/// What the trace notes for an enum that names no variants.
const NO_VARIANT: &str = "";

type Result<T> = std::result::Result<T, Error>;

/// The names of the fields of a struct, or of the variants of an enum.
type Names = &'static [&'static str];

/// The error that ends a run early: the type asks for something that the format cannot answer, or for too much.
fn halt() -> Error {
    de::Error::custom("a trace ended early")
}

/// A struct, or a variant of an enum: the names that serde gives it.
pub(super) type Name = (&'static str, Option<&'static str>);

/// What the trace knows of a variant of an enum.
#[derive(Clone, Default)]
struct Variant {
    /// How many variants were complete when this one was last tried.
    tried: Option<u32>,
    /// Its number in the order in which variants became complete.
    complete: Option<u32>,
}

struct Enum {
    name: &'static str,
    names: Names,
    variants: Vec<Variant>,
}

/// What all runs together have seen so far.
#[derive(Default)]
pub(super) struct Trace {
    /// All questions in their order, from which the fingerprint is computed.
    pub log: Vec<u8>,
    /// Why postcard's bytes can never be read as this type.
    pub unreadable: Option<String>,
    /// How many fields of each struct and variant are read.
    pub fields: Vec<(Name, usize)>,
    /// From this depth on the made-up values are as small as possible: no options, no elements, zeros.
    pub least_from: Option<usize>,
    /// The greatest depth of a question.
    pub depth: usize,
    /// Whether the current run found something new.
    pub found: bool,
    questions: u32,
    enums: Vec<Enum>,
    complete: u32,
    /// Fields whose types refuse the made-up values.
    refused: Vec<(Name, usize)>,
    /// The names of the types within which the current question is asked; empty for types without a name.
    within: Vec<&'static str>,
}

impl Trace {
    pub(super) fn begin(&mut self) {
        self.found = false;
        self.within.clear();
    }

    /// Whether every part of the type was seen.
    pub(super) fn is_whole(&self) -> bool {
        let complete = |of: &Enum| of.variants.iter().all(|variant| variant.complete.is_some());
        self.refused.is_empty() && self.questions < MOST_QUESTIONS && self.enums.iter().all(complete)
    }

    fn note(&mut self, what: &str) -> Result<()> {
        self.questions += 1;
        if self.questions >= MOST_QUESTIONS || self.within.len() > DEEPEST {
            return Err(halt());
        }
        self.depth = self.depth.max(self.within.len());
        self.log.extend_from_slice(what.as_bytes());
        self.log.push(0);
        Ok(())
    }

    fn note_all(&mut self, what: &str, name: &str, parts: &[&str]) -> Result<()> {
        self.note_count(what, name, parts.len())?;
        parts.iter().try_for_each(|part| self.note(part))
    }

    fn note_count(&mut self, what: &str, name: &str, count: usize) -> Result<()> {
        self.note(what)?;
        self.note(name)?;
        self.log.extend_from_slice(&(count as u64).to_le_bytes());
        Ok(())
    }

    fn cannot_answer(&mut self, question: &str) -> Error {
        let place = self.innermost().map_or(String::new(), |name| format!(" within `{name}`"));
        self.unreadable.get_or_insert(format!(
            "its Deserialize{place} asks what comes next ({question}), which postcard's bytes do not say; serde's \
             attributes tag, untagged and flatten do that"
        ));
        halt()
    }

    /// Whether optional parts are left out here.
    fn is_least(&self) -> bool {
        let recurs = |name: &str| self.within.iter().filter(|within| **within == name).count() > OFTEN;
        self.makes_least() || self.innermost().is_some_and(recurs)
    }

    fn innermost(&self) -> Option<&'static str> {
        self.within.iter().rev().copied().find(|name| !name.is_empty())
    }

    fn makes_least(&self) -> bool {
        self.least_from.is_some_and(|from| self.within.len() >= from)
    }

    fn one(&self) -> u8 {
        u8::from(!self.makes_least())
    }

    /// The variant of an enum that this run takes.
    fn choose(&mut self, name: &'static str, names: Names) -> (usize, usize) {
        let known = self.enums.iter().position(|known| known.name == name && known.names == names);
        let at = known.unwrap_or_else(|| {
            self.enums.push(Enum { name, names, variants: vec![Variant::default(); names.len()] });
            self.enums.len() - 1
        });
        let (now, variants) = (self.complete, &mut self.enums[at].variants);
        let untried = variants.iter().position(|variant| variant.tried.is_none());
        let again = || variants.iter().position(|variant| variant.complete.is_none() && variant.tried != Some(now));
        if let Some(next) = untried.or_else(again).filter(|_| self.least_from.is_none()) {
            variants[next].tried = Some(now);
            self.found = true;
            return (at, next);
        }
        // The variant that was complete first does not contain the enum itself.
        let simplest =
            variants.iter().enumerate().filter_map(|(i, variant)| variant.complete.map(|turn| (turn, i))).min();
        (at, simplest.map_or(0, |(_, i)| i))
    }

    fn completed(&mut self, (at, variant): (usize, usize)) {
        let variant = &mut self.enums[at].variants[variant];
        if variant.complete.is_none() {
            variant.complete = Some(self.complete);
            self.complete += 1;
            self.found = true;
        }
    }

    /// Reads the fields of a struct or a variant, except those that refuse the made-up values.
    fn read_fields<'de, V: Visitor<'de>>(&mut self, name: Name, fields: Names, visitor: V) -> Result<V::Value> {
        if self.refused.iter().any(|(refused, _)| *refused == name) {
            return visitor.visit_map(Fields { trace: self, name, fields, next: 0 });
        }
        self.read_elements(Some(name), fields.len(), visitor)
    }

    fn read_elements<'de, V: Visitor<'de>>(&mut self, name: Option<Name>, len: usize, visitor: V) -> Result<V::Value> {
        let mut elements = Elements { trace: self, name, len, next: 0 };
        let value = visitor.visit_seq(&mut elements)?;
        let read = elements.next;
        if let Some(name) = name
            && !self.fields.contains(&(name, read))
        {
            self.fields.push((name, read));
        }
        Ok(value)
    }

    /// Reads the parts of a type.
    fn inside<R>(&mut self, name: &'static str, read: impl FnOnce(&mut Self) -> Result<R>) -> Result<R> {
        self.within.push(name);
        let value = read(self);
        self.within.pop();
        value
    }

    /// Reads a field. If it refuses the made-up value, it is left out from the next run on.
    fn read_field<'de, S: DeserializeSeed<'de>>(&mut self, name: Name, field: usize, seed: S) -> Result<S::Value> {
        let value = seed.deserialize(&mut *self);
        if value.is_err() && !self.found {
            self.refused.push((name, field));
            self.found = true;
        }
        value
    }
}

/// Methods that read one value. They note the question, and answer it with a made-up value.
macro_rules! leaves {
    ($($method:ident: $what:literal, |$trace:ident, $visitor:ident| $visit:expr;)*) => {$(
        fn $method<V: Visitor<'de>>(self, $visitor: V) -> Result<V::Value> {
            self.note($what)?;
            let $trace = self;
            $visit
        }
    )*};
}

impl<'de> Deserializer<'de> for &mut Trace {
    type Error = Error;

    leaves! {
        deserialize_bool: "bool", |trace, visitor| visitor.visit_bool(!trace.makes_least());
        deserialize_i8: "i8", |trace, visitor| visitor.visit_i8(trace.one() as i8);
        deserialize_i16: "i16", |trace, visitor| visitor.visit_i16(trace.one().into());
        deserialize_i32: "i32", |trace, visitor| visitor.visit_i32(trace.one().into());
        deserialize_i64: "i64", |trace, visitor| visitor.visit_i64(trace.one().into());
        deserialize_i128: "i128", |trace, visitor| visitor.visit_i128(trace.one().into());
        deserialize_u8: "u8", |trace, visitor| visitor.visit_u8(trace.one());
        deserialize_u16: "u16", |trace, visitor| visitor.visit_u16(trace.one().into());
        deserialize_u32: "u32", |trace, visitor| visitor.visit_u32(trace.one().into());
        deserialize_u64: "u64", |trace, visitor| visitor.visit_u64(trace.one().into());
        deserialize_u128: "u128", |trace, visitor| visitor.visit_u128(trace.one().into());
        deserialize_f32: "f32", |trace, visitor| visitor.visit_f32(trace.one().into());
        deserialize_f64: "f64", |trace, visitor| visitor.visit_f64(trace.one().into());
        deserialize_char: "char", |_trace, visitor| visitor.visit_char('1');
        // Strings are noted as `str` in both forms, because both have the same bytes.
        deserialize_str: "str", |trace, visitor| visitor.visit_borrowed_str(if trace.makes_least() { "" } else { "1" });
        deserialize_string: "str", |trace, visitor| visitor.visit_str(if trace.makes_least() { "" } else { "1" });
        deserialize_bytes: "bytes", |trace, visitor| visitor.visit_borrowed_bytes(if trace.makes_least() { &[] } else { &[1; 16] });
        deserialize_byte_buf: "bytes", |trace, visitor| visitor.visit_bytes(if trace.makes_least() { &[] } else { &[1; 16] });
        deserialize_unit: "unit", |_trace, visitor| visitor.visit_unit();
        deserialize_any: "any", |trace, _visitor| Err(trace.cannot_answer("deserialize_any"));
        deserialize_ignored_any: "any", |trace, _visitor| Err(trace.cannot_answer("deserialize_ignored_any"));
        deserialize_identifier: "any", |trace, _visitor| Err(trace.cannot_answer("deserialize_identifier"));
        deserialize_option: "option", |trace, visitor| {
            if trace.is_least() { visitor.visit_none() } else { trace.inside("", |trace| visitor.visit_some(trace)) }
        };
        deserialize_seq: "seq", |trace, visitor| {
            let len = usize::from(!trace.is_least());
            trace.inside("", |trace| trace.read_elements(None, len, visitor))
        };
        deserialize_map: "map", |trace, visitor| {
            let len = usize::from(!trace.is_least());
            trace.inside("", |trace| visitor.visit_map(Elements { trace, name: None, len, next: 0 }))
        };
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value> {
        self.note("unit struct")?;
        self.note(name)?;
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value> {
        self.note("newtype struct")?;
        self.note(name)?;
        self.inside(name, |trace| visitor.visit_newtype_struct(trace))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value> {
        self.note_count("tuple", "", len)?;
        self.inside("", |trace| trace.read_elements(None, len, visitor))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(self, name: &'static str, len: usize, visitor: V) -> Result<V::Value> {
        self.note_count("tuple struct", name, len)?;
        self.inside(name, |trace| trace.read_elements(Some((name, None)), len, visitor))
    }

    fn deserialize_struct<V: Visitor<'de>>(self, name: &'static str, fields: Names, visitor: V) -> Result<V::Value> {
        self.note_all("struct", name, fields)?;
        self.inside(name, |trace| trace.read_fields((name, None), fields, visitor))
    }

    fn deserialize_enum<V: Visitor<'de>>(self, name: &'static str, variants: Names, visitor: V) -> Result<V::Value> {
        self.note_all("enum", name, variants)?;
        let chosen = self.choose(name, variants);
        let variant = variants.get(chosen.1).copied();
        let value = self.inside(name, |trace| visitor.visit_enum(Chosen { trace, name, variant, index: chosen.1 }))?;
        if variant.is_some() {
            self.completed(chosen);
        }
        Ok(value)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The elements of a tuple, a sequence or a map, or the fields of a struct in their order.
struct Elements<'t> {
    trace: &'t mut Trace,
    name: Option<Name>,
    len: usize,
    next: usize,
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>> {
        if self.next == self.len {
            return Ok(None);
        }
        let element = match self.name {
            Some(name) => self.trace.read_field(name, self.next, seed)?,
            None => seed.deserialize(&mut *self.trace)?,
        };
        self.next += 1;
        Ok(Some(element))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.len - self.next)
    }
}

/// A map, whose elements are its entries.
impl<'de> MapAccess<'de> for Elements<'_> {
    type Error = Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>> {
        self.next_element_seed(seed)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value> {
        seed.deserialize(&mut *self.trace)
    }

    fn size_hint(&self) -> Option<usize> {
        SeqAccess::size_hint(self)
    }
}

/// The fields of a struct by their names, except those that refuse the made-up values. No value of the struct results
/// from them.
struct Fields<'t> {
    trace: &'t mut Trace,
    name: Name,
    fields: Names,
    next: usize,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>> {
        while self.trace.refused.contains(&(self.name, self.next)) {
            self.next += 1;
        }
        let Some(field) = self.fields.get(self.next) else { return Ok(None) };
        self.trace.note(field)?;
        let field: StrDeserializer<'_, Error> = field.into_deserializer();
        seed.deserialize(field).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value> {
        let value = self.trace.read_field(self.name, self.next, seed);
        self.next += 1;
        value
    }
}

/// The variant of an enum that a run takes.
struct Chosen<'t> {
    trace: &'t mut Trace,
    name: &'static str,
    /// `None` if the type names no variants.
    variant: Option<&'static str>,
    index: usize,
}

impl<'de> EnumAccess<'de> for Chosen<'_> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self)> {
        let index = u32::try_from(self.index).map_err(de::Error::custom)?;
        self.trace.note_count("variant", self.variant.unwrap_or(NO_VARIANT), self.index)?;
        let index: U32Deserializer<Error> = index.into_deserializer();
        Ok((seed.deserialize(index)?, self))
    }
}

impl<'de> VariantAccess<'de> for Chosen<'_> {
    type Error = Error;

    fn unit_variant(self) -> Result<()> {
        self.trace.note("unit variant")
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value> {
        self.trace.note("newtype variant")?;
        seed.deserialize(self.trace)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value> {
        self.trace.note_count("tuple variant", "", len)?;
        self.trace.read_elements(Some((self.name, self.variant)), len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: Names, visitor: V) -> Result<V::Value> {
        self.trace.note_all("struct variant", "", fields)?;
        self.trace.read_fields((self.name, self.variant), fields, visitor)
    }
}
