//! Plain tables: columns as wide as their widest cell, two spaces apart, no frames, so that `awk` and people read
//! them alike.

use super::style::{Styles, paint, printable};

/// Lays rows out under a header; empty when there are no rows.
#[must_use]
pub fn render<const N: usize>(header: [&str; N], rows: &[[String; N]], styles: &Styles) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let clean = |cell: &str| printable(cell).replace(['\n', '\t'], " ");
    let rows: Vec<[String; N]> = rows.iter().map(|row| row.each_ref().map(|cell| clean(cell))).collect();
    let mut widths = header.map(|cell| cell.chars().count());
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: [&str; N]| {
        let mut line = String::new();
        for (cell, width) in cells.iter().zip(widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        line.trim_end().to_owned()
    };
    let mut text = paint(styles.strong, line(header));
    text.push('\n');
    for row in &rows {
        text.push_str(&line(row.each_ref().map(String::as_str)));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["volumes.data".to_owned(), "in-use".to_owned()], ["leases.l".to_owned(), String::new()]];
        let text = render(["ADDRESS", "STATUS"], &rows, &Styles::plain());
        assert_eq!(text, "ADDRESS       STATUS\nvolumes.data  in-use\nleases.l\n");
    }
}
