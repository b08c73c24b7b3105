//! Tables for spreadsheets.

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};

/// A table as a file.
pub(super) fn file(name: &str, header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Response {
    let octets = stopgap_tell::table(header, rows);
    let plain = |c: char| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '_' };
    let name: String = name.chars().map(plain).collect();
    let disposition = format!("attachment; filename=\"{name}.csv\"");
    let headers = [(CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()), (CONTENT_DISPOSITION, disposition)];
    (headers, octets).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_formula_is_text_and_a_line_end_stays_in_its_cell() {
        let rows = [vec![
            "=HYPERLINK(\"http://x\")".to_owned(),
            "a\nb".to_owned(),
            "-1".to_owned(),
            "plain, text".to_owned(),
        ]];
        let response = file("servers", &["A", "B", "C", "D"], rows);
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let expected = "A,B,C,D\r\n\"'=HYPERLINK(\"\"http://x\"\")\",\"a\nb\",'-1,\"plain, text\"\r\n";
        assert_eq!(String::from_utf8_lossy(&body), expected);
    }
}
