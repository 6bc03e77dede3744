//! Parameters as Stripe takes them: names with brackets, percent-encoded.

use url::form_urlencoded::Serializer;

/// A request's parameters, in the order in which they were added. Nested ones are named as Stripe writes them:
/// `items[0][price]`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Form {
    pairs: Vec<(String, String)>,
}

impl Form {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a parameter. An empty value takes back what is set.
    #[must_use]
    pub(crate) fn with(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.push(name, value);
        self
    }

    /// Adds a parameter if there is a value.
    #[must_use]
    pub(crate) fn with_some(self, name: impl Into<String>, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Adds a list: `name[0]`, `name[1]` and so on.
    #[must_use]
    pub(crate) fn with_list(mut self, name: &str, values: &[impl ToString]) -> Self {
        for (number, value) in values.iter().enumerate() {
            self.push(format!("{name}[{number}]"), value.to_string());
        }
        self
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "numbers and texts read better without a reference"
    )]
    pub(crate) fn push(&mut self, name: impl Into<String>, value: impl ToString) {
        self.pairs.push((name.into(), value.to_string()));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// `application/x-www-form-urlencoded`
    pub(crate) fn encode(&self) -> String {
        let mut serializer = Serializer::new(String::new());
        serializer.extend_pairs(&self.pairs);
        serializer.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_brackets_and_values_are_encoded() {
        let none: Option<&str> = None;
        let form = Form::new()
            .with("items[0][price]", "price_1")
            .with("success_url", "https://a.example/?s={CHECKOUT_SESSION_ID}&b=ä c")
            .with_some("coupon", none)
            .with_some("quantity", Some(2))
            .with_list("lookup_keys", &["a", "b"])
            .with("cancel_at", "");
        assert_eq!(
            form.encode(),
            "items%5B0%5D%5Bprice%5D=price_1\
             &success_url=https%3A%2F%2Fa.example%2F%3Fs%3D%7BCHECKOUT_SESSION_ID%7D%26b%3D%C3%A4+c\
             &quantity=2&lookup_keys%5B0%5D=a&lookup_keys%5B1%5D=b&cancel_at="
        );
        assert!(Form::new().is_empty() && Form::new().encode().is_empty());
    }
}
