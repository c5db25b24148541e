//! A serializer without output: it checks whether a value's `Serialize` would write something that cannot be read back.

use super::trace::Name;
use serde::Serialize;
use serde::de::value::Error;
use serde::ser::{self, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple};
use serde::ser::{SerializeTupleStruct, SerializeTupleVariant, Serializer};
use std::fmt;

/// The error says why a value could not be read back.
pub(super) type Result<T = ()> = std::result::Result<T, Error>;

/// How many fields of each struct and variant are read; empty if a part of the type could not be traced.
pub(super) struct Fields(pub Vec<(Name, usize)>);

impl Fields {
    /// Returns an error unless as many fields are written as are read. If two structs have the same name, each number
    /// that one of them reads is accepted.
    fn check(&self, name: Name, written: usize) -> Result {
        let mut counts = self.0.iter().filter(|(of, _)| *of == name).map(|(_, count)| *count).peekable();
        let Some(&read) = counts.peek() else { return Ok(()) };
        if counts.any(|count| count == written) {
            return Ok(());
        }
        let name = shown(name);
        let why = format!("of `{name}` {written} fields are written and {read} are read (skip_serializing)");
        Err(ser::Error::custom(why))
    }
}

/// One walk through a value. It compares the fields that are written with those that are read.
#[derive(Clone, Copy)]
pub(super) struct Walk<'s>(pub &'s Fields);

impl<'s> Walk<'s> {
    fn parts(self, name: &'static str, variant: Option<&'static str>) -> Parts<'s> {
        Parts { walk: self, name: Some((name, variant)), written: 0 }
    }

    /// The parts of a sequence or a map.
    fn elements(self, what: &str, len: Option<usize>) -> Result<Parts<'s>> {
        if len.is_some() {
            return Ok(Parts { walk: self, name: None, written: 0 });
        }
        let why = format!("the length of a {what} is not known before its end; serde's attribute flatten makes such");
        Err(ser::Error::custom(why))
    }
}

/// Methods for values that have no parts.
macro_rules! leaves {
    ($($method:ident($($kind:ty),*);)*) => {$(
        #[inline]
        fn $method(self, $(_: $kind),*) -> Result {
            Ok(())
        }
    )*};
}

impl<'s> Serializer for Walk<'s> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Parts<'s>;
    type SerializeTuple = Parts<'s>;
    type SerializeTupleStruct = Parts<'s>;
    type SerializeTupleVariant = Parts<'s>;
    type SerializeMap = Parts<'s>;
    type SerializeStruct = Parts<'s>;
    type SerializeStructVariant = Parts<'s>;

    leaves! {
        serialize_bool(bool);
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_i128(i128);
        serialize_u8(u8);
        serialize_u16(u16);
        serialize_u32(u32);
        serialize_u64(u64);
        serialize_u128(u128);
        serialize_f32(f32);
        serialize_f64(f64);
        serialize_char(char);
        serialize_str(&str);
        serialize_bytes(&[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(&'static str);
        serialize_unit_variant(&'static str, u32, &'static str);
    }

    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Result {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(self, _: &'static str, value: &T) -> Result {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result {
        value.serialize(self)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Parts<'s>> {
        self.elements("sequence", len)
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Parts<'s>> {
        self.elements("map", len)
    }

    fn serialize_tuple(self, len: usize) -> Result<Parts<'s>> {
        self.elements("tuple", Some(len))
    }

    fn serialize_tuple_struct(self, name: &'static str, _: usize) -> Result<Parts<'s>> {
        Ok(self.parts(name, None))
    }

    fn serialize_tuple_variant(self, name: &'static str, _: u32, variant: &'static str, _: usize) -> Result<Parts<'s>> {
        Ok(self.parts(name, Some(variant)))
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Parts<'s>> {
        Ok(self.parts(name, None))
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Parts<'s>> {
        Ok(self.parts(name, Some(variant)))
    }

    fn collect_str<T: ?Sized + fmt::Display>(self, _: &T) -> Result {
        Ok(())
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The parts of a struct or a variant, which have a name; or those of a sequence, a tuple or a map, which have none.
pub(super) struct Parts<'s> {
    walk: Walk<'s>,
    name: Option<Name>,
    written: usize,
}

impl Parts<'_> {
    #[inline]
    fn part<T: ?Sized + Serialize>(&mut self, value: &T) -> Result {
        self.written += 1;
        value.serialize(self.walk)
    }

    fn skip(&self, field: &str) -> Result {
        let of = self.name.map(shown).unwrap_or_default();
        let why = format!(
            "the field `{field}` of `{of}` is left out (skip_serializing_if), and postcard's bytes do not say which \
             fields are there"
        );
        Err(ser::Error::custom(why))
    }

    #[inline]
    fn finish(&self) -> Result {
        self.name.map_or(Ok(()), |name| self.walk.0.check(name, self.written))
    }
}

/// The name of a struct, or of a variant of an enum, as it is written in Rust.
fn shown((name, variant): Name) -> String {
    variant.map_or_else(|| name.to_owned(), |variant| format!("{name}::{variant}"))
}

/// Implements the traits for values with parts, some of which may skip fields.
macro_rules! parts {
    ($($name:ident $(may $skip:ident)? { $($method:ident($($field:ty)?);)* })*) => {$(
        impl $name for Parts<'_> {
            type Ok = ();
            type Error = Error;

            $(
                #[inline]
                fn $method<T: ?Sized + Serialize>(&mut self, $(_: $field,)? value: &T) -> Result {
                    self.part(value)
                }
            )*

            $(
                fn $skip(&mut self, field: &'static str) -> Result {
                    self.skip(field)
                }
            )?

            fn end(self) -> Result {
                self.finish()
            }
        }
    )*};
}

parts! {
    SerializeSeq { serialize_element(); }
    SerializeTuple { serialize_element(); }
    SerializeMap { serialize_key(); serialize_value(); }
    SerializeTupleStruct { serialize_field(); }
    SerializeTupleVariant { serialize_field(); }
    SerializeStruct may skip_field { serialize_field(&'static str); }
    SerializeStructVariant may skip_field { serialize_field(&'static str); }
}
