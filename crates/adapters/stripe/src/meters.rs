//! Meters, which count what is paid for by how much is used: <https://docs.stripe.com/api/billing/meter>.

use anteroom_ports::billing::PaymentError;

use crate::form::Form;
use crate::json::{flag, list, text};
use crate::transport::{Call, Transport, random_key};

/// Metadata of a price that say what it counts.
pub(crate) const COUNTED: &str = "anteroom_key";

/// Who is charged, and how much, in a meter's events.
pub(crate) const CUSTOMER: &str = "stripe_customer_id";
pub(crate) const VALUE: &str = "value";

/// The most meters on a page.
const PAGE: u32 = 100;

/// The name of the events by which something is counted, and so of its meter.
pub(crate) fn event_name(key: &str) -> String {
    format!("anteroom_{key}")
}

/// The meter that counts something; made if there is none.
pub(crate) async fn keep(http: &Transport, key: &str) -> Result<String, PaymentError> {
    let name = event_name(key);
    if let Some(meter) = find(http, &name).await? {
        return Ok(meter);
    }
    let form = Form::new()
        .with("display_name", key)
        .with("event_name", &name)
        .with("default_aggregation[formula]", "sum")
        .with("customer_mapping[type]", "by_id")
        .with("customer_mapping[event_payload_key]", CUSTOMER)
        .with("value_settings[event_payload_key]", VALUE);
    let refused = match http
        .send(Call::post("meter", &["billing", "meters"], form, random_key()?))
        .await
    {
        Ok(meter) => {
            let made = text(&meter, "/id").map(str::to_owned);
            return made.ok_or_else(|| PaymentError::Unavailable("its answer is a meter without `id`".to_owned()));
        }
        Err(refused @ PaymentError::Refused { .. }) => refused,
        Err(error) => return Err(error),
    };
    // Somebody else may have made it since it was looked for.
    find(http, &name).await?.ok_or(refused)
}

async fn find(http: &Transport, name: &str) -> Result<Option<String>, PaymentError> {
    let mut after: Option<String> = None;
    loop {
        let form = Form::new()
            .with("status", "active")
            .with("limit", PAGE)
            .with_some("starting_after", after.as_deref());
        let page = http.send(Call::get("meter", &["billing", "meters"], form)).await?;
        let meters = list(&page, "/data");
        if let Some(meter) = meters.iter().find(|meter| text(meter, "/event_name") == Some(name)) {
            return Ok(text(meter, "/id").map(str::to_owned));
        }
        after = meters.last().and_then(|last| text(last, "/id")).map(str::to_owned);
        if after.is_none() || !flag(&page, "/has_more") {
            return Ok(None);
        }
    }
}
