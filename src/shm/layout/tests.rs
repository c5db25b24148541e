//! The layout against its document, and shapes at their limits.

use super::*;

/// Each struct has a heading in `docs/format.md` and a table under it whose rows begin `| offset | size | `name` |`.
#[test]
fn the_document_of_the_format_lists_every_field() {
    let mut of = String::new();
    let mut listed = Vec::new();
    for line in include_str!("../../../docs/format.md").lines() {
        if let Some(heading) = line.strip_prefix("### ") {
            of = heading.trim().to_owned();
        }
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        if let ["", offset, size, name, ..] = cells[..]
            && let (Ok(offset), Ok(size)) = (offset.parse::<usize>(), size.parse::<usize>())
        {
            listed.push((of.clone(), name.trim_matches('`').to_owned(), offset, size));
        }
    }
    let drawn: Vec<_> = FIELDS.iter().map(|&(of, name, at, size)| (of.to_owned(), name.to_owned(), at, size)).collect();
    assert_eq!(listed, drawn);
}

#[test]
fn every_byte_of_every_struct_has_a_name() {
    for (of, size) in [
        ("Header", size_of::<Header>()),
        ("Seat", size_of::<Seat>()),
        ("Namespace", size_of::<Namespace>()),
        ("Histogram", size_of::<Histogram>()),
        ("Tap", size_of::<Tap>()),
        ("NamespaceReads", size_of::<NamespaceReads>()),
        ("Stripe", size_of::<Stripe>()),
        ("Claim", size_of::<Claim>()),
        ("Bucket", size_of::<Bucket>()),
        ("Record", size_of::<Record>()),
        ("Extension", size_of::<Extension>()),
    ] {
        let end = FIELDS.iter().filter(|f| f.0 == of).fold(0, |end, &(_, name, offset, size)| {
            assert_eq!(offset, end, "{of}.{name} does not follow the field before it");
            offset + size
        });
        assert_eq!(end, size, "{of} has bytes without a name");
    }
}

impl Shape {
    /// The smallest number of everything that is counted.
    pub(crate) const SMALL: Self = Self {
        capacity: 4096,
        mean_item: 64,
        stripes: 1,
        lock_regions: 1,
        seats: 1,
        namespaces: 1,
        claims: 1,
        tags: 0,
        histograms: 0,
        samples: 0,
        namespace_reads: 0,
    };
}

fn shape() -> Shape {
    Shape {
        capacity: 1 << 20,
        mean_item: 80,
        stripes: 4,
        lock_regions: 4,
        seats: 8,
        namespaces: 4,
        claims: 64,
        tags: 64,
        histograms: HISTOGRAMS,
        samples: TAP_WORDS,
        namespace_reads: 1,
    }
}

#[test]
fn an_item_of_64_bytes_costs_at_most_56_bytes_beside_key_and_value() {
    let geometry = Geometry::new(shape()).unwrap();
    let items = geometry.shape.capacity / (RECORD_LEN + 80);
    let index = 4 * geometry.buckets * BUCKET_LEN;
    let overhead = RECORD_LEN as f64 + index as f64 / items as f64;
    assert!(overhead <= 56.0, "{overhead}");
}

#[test]
fn each_impossible_shape_names_its_option() {
    let cases: [(&str, Shape); 13] = [
        ("stripes", Shape { stripes: 3, ..shape() }),
        ("lock_regions", Shape { lock_regions: 8, ..shape() }),
        ("capacity", Shape { capacity: 100, ..shape() }),
        ("mean_item", Shape { mean_item: 0, ..shape() }),
        ("seats", Shape { seats: 0, ..shape() }),
        ("namespaces", Shape { namespaces: 0, ..shape() }),
        ("claims", Shape { claims: 0, ..shape() }),
        ("tags", Shape { tags: 32, ..shape() }),
        ("tags", Shape { tags: 100, ..shape() }),
        ("tags", Shape { tags: 1 << 17, ..shape() }),
        ("histograms", Shape { histograms: HISTOGRAMS + 1, ..shape() }),
        ("samples", Shape { samples: 15, ..shape() }),
        ("namespace_reads", Shape { namespace_reads: 2, ..shape() }),
    ];
    for (option, shape) in cases {
        assert_eq!(Geometry::new(shape).unwrap_err().option, option);
    }
}

/// A regression: a record's length was cut to 32 bits where a quarter of a ring was longer.
#[test]
fn the_longest_record_of_the_largest_rings_fits_its_header() {
    for capacity in [140 << 30, 143 << 30, 1 << 40, MAX_CAPACITY] {
        let geometry = Geometry::new(Shape { capacity, mean_item: 1 << 20, stripes: 1, lock_regions: 1, ..shape() });
        let geometry = geometry.unwrap();
        let longest = geometry.largest_record;
        assert!(longest <= geometry.main.bytes() / 4 && longest / 8 <= u64::from(u32::MAX), "{longest}");
        assert!(longest >= 31 << 30, "no shorter than it must be: {longest}");
        for ring in [geometry.small, geometry.main] {
            assert!(ring.units <= ring.mask + 1 && ring.limit() > 60 << ring.bits, "positions last for many laps");
        }
        assert_eq!(
            geometry.file_len,
            round_up(geometry.arena(0) + geometry.small.bytes() + geometry.main.bytes(), 4096)
        );
    }
}

#[test]
fn areas_follow_each_other_and_begin_cache_lines() {
    let small = Shape { seats: 1, namespaces: 1, ..shape() };
    for shape in [shape(), small, Shape { histograms: 0, samples: 0, namespace_reads: 0, ..small }] {
        let g = Geometry::new(shape).unwrap();
        assert_eq!(g.tags_at, g.namespaces_at + u64::from(shape.namespaces) * NAMESPACE_LEN);
        assert_eq!(g.histograms_at, g.tags_at + u64::from(shape.tags) * TAG_LEN);
        let starts = [
            g.seats_at,
            g.namespaces_at,
            g.tags_at,
            g.histograms_at,
            g.samples_at,
            g.namespace_reads_at,
            g.stripes_at,
            g.buckets_at,
        ];
        assert!(starts.is_sorted() && starts.iter().all(|at| at % 64 == 0), "{starts:?}");
        assert_eq!(g.samples_at, g.histograms_at + u64::from(shape.histograms) * HISTOGRAM_LEN);
    }
}
