//! The rows of a table, dealt out by chance: `ratings.csv` into training, validation and evaluation.
//!
//! The table is read twice: once to count its rows, once to deal them. Each row goes to a part with the chance of what
//! that part still lacks, so every part gets exactly its share, and rows keep their order in each. Memory holds the
//! values that become numbers, and never the rows.
//!
//! Invariants: the same table, seed and description give the same bytes on every machine. A row with too few or too many
//! columns is an error with its line; none is left out.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use csv::{ByteRecord, ReaderBuilder, WriterBuilder};

use super::{Chance, DatasetError, ErrorKind, Transforming, counted, made_key, nothing, others, regex, text};
use crate::dataset::content::{Entry, Reader};
use crate::dataset::digest::Sha256;
use crate::dataset::job::Split;
use crate::dataset::{Progress, Watch};

/// The most values of a column that become numbers: they are held in memory.
const MOST_IDS: usize = 50_000_000;
/// How much is read and written at once.
const BLOCK: usize = 256 << 10;
/// How many rows are dealt between two looks whether to stop.
const ROWS: u64 = 1 << 16;

type Writer = csv::Writer<BufWriter<File>>;

pub(super) fn check(this: &Split) -> Result<(), DatasetError> {
    let mistake = |text: String| Err(DatasetError::new(ErrorKind::Job, format!("split: {text}")));
    if this.parts.is_empty() || this.parts.iter().any(|part| part.share == 0) {
        return mistake("it needs `parts:`, each with a `key:` and a `share:` of at least 1".to_owned());
    }
    for part in &this.parts {
        made_key(part.key.clone())?;
    }
    let keys = counted(this.parts.iter().map(|part| part.key.as_str()));
    if let Some((key, _)) = keys.iter().find(|(_, count)| **count > 1) {
        return mistake(format!("two parts are `{key}`"));
    }
    let mut tables = this.dense_ids.iter().filter(|_| this.write_ids).map(|column| ids_key(column));
    if let Some(key) = tables.find(|key| keys.contains_key(key.as_str())) {
        return mistake(format!("`{key}` is a part, and the table of numbers that `write_ids` writes"));
    }
    for sign in [this.delimiter, this.separator] {
        if !sign.is_ascii() || ['\n', '\r', '"'].contains(&sign) {
            return mistake(format!("{sign:?} cannot separate columns; one ASCII character does"));
        }
    }
    let written = |column: &&String| this.columns.is_empty() || this.columns.contains(column);
    match this.dense_ids.iter().find(|column| !written(column)) {
        Some(column) => mistake(format!("`{column}` of `dense_ids` is not among its `columns`")),
        None => Ok(()),
    }
}

pub(super) fn apply(
    this: &Split,
    id: Option<Sha256>,
    entries: Vec<Entry>,
    with: &Transforming<'_>,
) -> Result<Vec<Entry>, DatasetError> {
    check(this)?;
    let pattern = this.file.split('*').map(regex::escape).collect::<Vec<_>>().join(".*");
    let pattern = regex(&format!("^(?s:{pattern})$"), "split: the file")?;
    let (tables, rest): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(|entry| pattern.is_match(&entry.key));
    let table = match tables.as_slice() {
        [] => return Err(nothing(&format!("split: no file is `{}`", this.file), &rest)),
        [table] => table,
        several => {
            let some = text::some(several.iter().map(|entry| entry.key.as_str()));
            let text = format!("split: `{}` is {} files: {some}", this.file, several.len());
            return Err(DatasetError::new(ErrorKind::Transform, text).hint("a split is of one table"));
        }
    };
    let id = id.unwrap_or_else(|| Sha256::of(uuid::Uuid::new_v4().as_bytes()));
    let mut made = with.staging.made(&id, |folder| Dealing { this, table, folder, watch: with.watch }.deal())?;
    made.extend(others(rest, this.others, "split: files that are not the table")?);
    Ok(made)
}

/// What is worked on.
struct Dealing<'a> {
    this: &'a Split,
    table: &'a Entry,
    folder: &'a Path,
    watch: &'a dyn Watch,
}

/// A column that is written.
struct Column {
    name: String,
    at: usize,
    /// The numbers of its values, where they become such.
    ids: Option<Ids>,
}

#[derive(Default)]
struct Ids {
    numbers: HashMap<Vec<u8>, u32>,
    values: Vec<Vec<u8>>,
}

impl Dealing<'_> {
    fn deal(&self) -> Result<(), DatasetError> {
        let rows = self.count()?;
        let mut left = shares(&self.this.parts.iter().map(|part| part.share).collect::<Vec<_>>(), rows);
        let mut reader = self.open()?;
        let header = reader.byte_headers().map_err(|error| self.failed(error))?.clone();
        let mut columns = self.columns(&header)?;
        let mut writers = self.writers(&columns)?;
        let mut chance = Chance(self.this.seed);
        let (mut row, mut out, mut digits) = (ByteRecord::new(), ByteRecord::new(), String::new());
        let mut remaining = rows;
        while reader.read_byte_record(&mut row).map_err(|error| self.failed(error))? {
            self.look(rows - remaining)?;
            if remaining == 0 {
                return Err(self.mistake("it has more rows than when they were counted".to_owned()));
            }
            let part = draw(&mut chance, &left, remaining);
            (left[part], remaining) = (left[part] - 1, remaining - 1);
            out.clear();
            for column in &mut columns {
                let value = row.get(column.at).unwrap_or_default();
                match &mut column.ids {
                    None => out.push_field(value),
                    Some(ids) => {
                        let number = ids.number(value).ok_or_else(|| {
                            let most = text::thousands(MOST_IDS as u64);
                            self.mistake(format!("the column `{}` has more than {most} values to number", column.name))
                        })?;
                        digits.clear();
                        // Writing to a text does not fail.
                        let _ = std::fmt::Write::write_fmt(&mut digits, format_args!("{number}"));
                        out.push_field(digits.as_bytes());
                    }
                }
            }
            writers[part].write_byte_record(&out).map_err(|error| self.failed(error))?;
        }
        for mut writer in writers {
            writer.flush().map_err(|error| DatasetError::file(self.folder, error))?;
        }
        self.write_ids(&columns)
    }

    fn look(&self, row: u64) -> Result<(), DatasetError> {
        match row.is_multiple_of(ROWS) && self.watch.stopped() {
            true => Err(DatasetError::stopped()),
            false => Ok(()),
        }
    }

    fn open(&self) -> Result<csv::Reader<Reader>, DatasetError> {
        let failed = |error| DatasetError::io(ErrorKind::File, &self.table.content.origin(), error);
        let content = self.table.open(0).map_err(failed)?;
        Ok(ReaderBuilder::new().delimiter(self.this.delimiter as u8).buffer_capacity(BLOCK).from_reader(content))
    }

    fn count(&self) -> Result<u64, DatasetError> {
        let mut reader = self.open()?;
        let header = reader.byte_headers().map_err(|error| self.failed(error))?.clone();
        self.columns(&header)?;
        let (mut row, mut rows) = (ByteRecord::new(), 0);
        while reader.read_byte_record(&mut row).map_err(|error| self.failed(error))? {
            self.look(rows)?;
            rows += 1;
        }
        match rows {
            0 => Err(self.mistake("it has no row".to_owned())),
            rows => {
                self.watch.tell(Progress::Bytes(self.table.size));
                Ok(rows)
            }
        }
    }

    fn columns(&self, header: &ByteRecord) -> Result<Vec<Column>, DatasetError> {
        // Spreadsheets put a mark of the encoding before the first name.
        let name =
            |raw: &[u8]| String::from_utf8_lossy(raw.strip_prefix(b"\xef\xbb\xbf").unwrap_or(raw)).trim().to_owned();
        let names: Vec<String> = header.iter().map(name).collect();
        let wanted = if self.this.columns.is_empty() { &names } else { &self.this.columns };
        if let Some(missing) = wanted.iter().chain(&self.this.dense_ids).find(|name| !names.contains(name)) {
            let there = text::some(names.iter().map(String::as_str));
            return Err(self.mistake(format!("it has no column `{missing}`; there are {there}")));
        }
        let column = |name: &String| {
            let ids = self.this.dense_ids.contains(name).then(Ids::default);
            Some(Column { name: name.clone(), at: names.iter().position(|other| other == name)?, ids })
        };
        Ok(wanted.iter().filter_map(column).collect())
    }

    fn writers(&self, columns: &[Column]) -> Result<Vec<Writer>, DatasetError> {
        let writer = |part: &crate::dataset::job::Part| {
            let mut writer = self.create(&part.key)?;
            if self.this.header {
                let header = writer.write_record(columns.iter().map(|column| &column.name));
                header.map_err(|error| self.failed(error))?;
            }
            Ok(writer)
        };
        self.this.parts.iter().map(writer).collect()
    }

    fn create(&self, key: &str) -> Result<Writer, DatasetError> {
        let path = self.folder.join(key);
        let failed = |error| DatasetError::file(&path, error);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(failed)?;
        }
        let file = BufWriter::with_capacity(BLOCK, File::create(&path).map_err(failed)?);
        Ok(WriterBuilder::new().delimiter(self.this.separator as u8).from_writer(file))
    }

    fn write_ids(&self, columns: &[Column]) -> Result<(), DatasetError> {
        for column in columns.iter().filter(|_| self.this.write_ids) {
            let Some(ids) = &column.ids else { continue };
            let mut writer = self.create(&made_key(ids_key(&column.name))?)?;
            for value in &ids.values {
                writer.write_record([value]).map_err(|error| self.failed(error))?;
            }
            writer.flush().map_err(|error| DatasetError::file(self.folder, error))?;
        }
        Ok(())
    }

    fn mistake(&self, text: String) -> DatasetError {
        DatasetError::new(ErrorKind::Transform, format!("split: {}: {text}", self.table.key))
    }

    fn failed(&self, error: csv::Error) -> DatasetError {
        match error.into_kind() {
            csv::ErrorKind::Io(error) => {
                DatasetError::io(ErrorKind::Transform, &format!("split: {}", self.table.key), error)
            }
            csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
                let line = pos.map_or_else(String::new, |pos| format!("line {}: ", text::thousands(pos.line())));
                self.mistake(format!("{line}{len} columns, where the first line has {expected_len}"))
            }
            other => self.mistake(format!("{other:?}")),
        }
    }
}

impl Ids {
    /// The number of a value; `None` where there are too many.
    fn number(&mut self, value: &[u8]) -> Option<u32> {
        if let Some(number) = self.numbers.get(value) {
            return Some(*number);
        }
        let number = u32::try_from(self.values.len()).ok().filter(|_| self.values.len() < MOST_IDS)?;
        self.numbers.insert(value.to_vec(), number);
        self.values.push(value.to_vec());
        Some(number)
    }
}

/// Where the numbers of a column's values are told.
fn ids_key(column: &str) -> String {
    format!("{column}.ids.tsv")
}

/// How many rows each part gets: the largest remainders are rounded up.
fn shares(shares: &[u64], rows: u64) -> Vec<u64> {
    let all: u128 = shares.iter().map(|share| u128::from(*share)).sum();
    let exact = |share: &u64| u128::from(*share) * u128::from(rows);
    let mut counts: Vec<u64> = shares.iter().map(|share| (exact(share) / all) as u64).collect();
    let mut order: Vec<usize> = (0..shares.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(exact(&shares[*at]) % all));
    let missing = rows - counts.iter().sum::<u64>();
    order.iter().take(missing as usize).for_each(|at| counts[*at] += 1);
    counts
}

/// A part, by the chance of what it still lacks.
fn draw(chance: &mut Chance, left: &[u64], remaining: u64) -> usize {
    let mut at = chance.below(remaining);
    for (part, lacks) in left.iter().enumerate() {
        if at < *lacks {
            return part;
        }
        at -= lacks;
    }
    // The parts lack as many as remain, so one was found.
    left.len() - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::content::Content;
    use crate::dataset::staging::Staging;
    use crate::dataset::tests::Quiet;

    const MOVIELENS: &str = r#"{
        "file": "*ratings.csv", "columns": ["userId", "movieId"], "dense_ids": ["userId", "movieId"], "seed": 7,
        "parts": [
            {"key": "training.tsv", "share": 70}, {"key": "validation.tsv", "share": 15},
            {"key": "evaluation.tsv", "share": 15}
        ]
    }"#;

    fn split(text: &str, table: &str) -> Result<Vec<(String, String)>, String> {
        let this: Split = serde_json::from_str(text).unwrap();
        let root = tempfile::tempdir().unwrap();
        let staging = Staging::open(root.path()).unwrap();
        let content = Content::Bytes(table.as_bytes().into());
        let entries = vec![Entry { key: "ml/ratings.csv".into(), size: table.len() as u64, content }];
        let with = Transforming { staging: &staging, watch: &Quiet };
        let made = apply(&this, Some(Sha256::of(b"x")), entries, &with).map_err(|error| error.message)?;
        Ok(made
            .iter()
            .map(|entry| (entry.key.clone(), std::io::read_to_string(entry.open(0).unwrap()).unwrap()))
            .collect())
    }

    fn ratings(rows: u64) -> String {
        let row = |row: u64| format!("{},{},{}.5,{}\n", row % 7 + 100, row * row % 11, row % 5, row);
        format!("userId,movieId,rating,timestamp\n{}", (0..rows).map(row).collect::<String>())
    }

    #[test]
    fn every_part_gets_its_share_and_every_row_a_part() {
        let made = split(MOVIELENS, &ratings(1000)).unwrap();
        let lines: Vec<_> = made.iter().map(|(key, text)| (key.as_str(), text.lines().count())).collect();
        assert_eq!(lines, [("evaluation.tsv", 150), ("training.tsv", 700), ("validation.tsv", 150)]);
        let mut all: Vec<&str> = made.iter().flat_map(|(_, text)| text.lines()).collect();
        let mut wanted = Vec::new();
        let mut numbers = (HashMap::new(), HashMap::new());
        for row in 0..1000_u64 {
            let (users, items) = (numbers.0.len(), numbers.1.len());
            let user = *numbers.0.entry(row % 7).or_insert(users);
            wanted.push(format!("{user}\t{}", *numbers.1.entry(row * row % 11).or_insert(items)));
        }
        all.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(all, wanted);
        assert_eq!(split(MOVIELENS, &ratings(1000)).unwrap(), made, "a seed deals always the same");
        assert_ne!(split(&MOVIELENS.replace("\"seed\": 7", "\"seed\": 8"), &ratings(1000)).unwrap(), made);
        assert_eq!(Sha256::of(made[0].1.as_bytes()).short(), "de4be10332647ff2428a3de1", "on every machine");
    }

    #[test]
    fn tables_of_other_forms_are_read_too() {
        let text = r#"{"file": "ml/*", "separator": ",", "header": true, "delimiter": ";", "write_ids": true,
            "dense_ids": ["b"], "parts": [{"key": "all/x.csv", "share": 1}]}"#;
        let made = split(text, "\u{feff}a;b\n\"1;\n,\";x\n2;y\n3;x").unwrap();
        assert_eq!(made[0], ("all/x.csv".to_owned(), "a,b\n\"1;\n,\",0\n2,1\n3,0\n".to_owned()));
        assert_eq!(made[1], ("b.ids.tsv".to_owned(), "x\ny\n".to_owned()));
        let error = split(&text.replace("all/x.csv", "b.ids.tsv"), "a;b\n1;2\n").unwrap_err();
        assert!(error.contains("`b.ids.tsv` is a part, and the table"), "{error}");
    }

    #[test]
    fn mistakes_name_the_line_or_the_column() {
        let fails = |text: &str, table: &str| split(text, table).unwrap_err();
        let bad_row = "userId,movieId\n1,2\n1\n";
        insta::assert_snapshot!(fails(MOVIELENS, bad_row), @"split: ml/ratings.csv: line 3: 1 columns, where the first line has 2");
        insta::assert_snapshot!(fails(MOVIELENS, "user,movieId\n1,2\n"), @"split: ml/ratings.csv: it has no column `userId`; there are `user`, `movieId`");
        assert!(fails(MOVIELENS, "userId,movieId\n").contains("no row"));
        assert!(
            fails(&MOVIELENS.replace("*ratings", "links"), "")
                .contains("no file is `links.csv`; there are `ml/ratings.csv`")
        );
        assert!(fails(&MOVIELENS.replace("validation", "training"), "").contains("two parts are `training.tsv`"));
        assert!(fails(&MOVIELENS.replace("\"share\": 70", "\"share\": 0"), "").contains("at least 1"));
        assert!(
            fails(&MOVIELENS.replace("[\"userId\", \"movieId\"], \"dense", "[\"movieId\"], \"dense"), "")
                .contains("`userId` of `dense_ids`")
        );
    }

    #[test]
    fn shares_are_exact() {
        assert_eq!(shares(&[70, 15, 15], 10_000_000), [7_000_000, 1_500_000, 1_500_000]);
        assert_eq!(shares(&[1, 1, 1], 10), [4, 3, 3]);
        assert_eq!(shares(&[1, 99], 1), [0, 1]);
    }
}
