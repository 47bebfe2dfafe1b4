/// A table of text cells under a header, rendered for a terminal or as Markdown. The first column is
/// left-aligned, the others right-aligned.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new<'a>(header: impl IntoIterator<Item = &'a str>) -> Self {
        Table { rows: vec![header.into_iter().map(str::to_owned).collect()] }
    }

    /// Adds a row, which must have as many cells as the header.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(super) fn text(&self) -> String {
        self.write(self.rows.clone(), "", "  ", "", |width, _| "-".repeat(width))
    }

    pub(super) fn markdown(&self) -> String {
        let escaped =
            |cell: &String| cell.replace('\\', "\\\\").replace('|', "\\|").replace(['\n', '\r'], " ");
        let rows = self.rows.iter().map(|row| row.iter().map(escaped).collect()).collect();
        self.write(rows, "| ", " | ", " |", |width, column| match column {
            0 => "-".repeat(width),
            _ => format!("{}:", "-".repeat(width - 1)),
        })
    }

    fn write(
        &self,
        rows: Vec<Vec<String>>,
        start: &str,
        between: &str,
        end: &str,
        rule: impl Fn(usize, usize) -> String,
    ) -> String {
        let width =
            |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0).max(3);
        let widths: Vec<usize> = (0..rows[0].len()).map(width).collect();
        let line = |cells: Vec<String>| {
            let cells: Vec<String> = cells
                .into_iter()
                .enumerate()
                .map(|(column, cell)| match column {
                    0 => format!("{cell:<0$}", widths[column]),
                    _ => format!("{cell:>0$}", widths[column]),
                })
                .collect();
            format!("{}\n", format!("{start}{}{end}", cells.join(between)).trim_end())
        };
        let ruler = line(widths.iter().enumerate().map(|(column, &width)| rule(width, column)).collect());
        let mut lines = rows.into_iter().map(line);
        let header = lines.next().unwrap_or_default();
        header + &ruler + &lines.collect::<String>()
    }
}
