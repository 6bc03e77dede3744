//! Prices: found by their lookup key, and published.

use std::collections::HashMap;
use std::time::Duration;

use moka::sync::Cache;
use serde_json::Value;

use anteroom_ports::billing::{PaymentError, ProviderPrice, Published, Sale};

use crate::form::Form;
use crate::json::{flag, list, text};
use crate::subscription::{PLAN, PLAN_VERSION, price};
use crate::transport::{Call, Transport, random_key};

/// How long a price is remembered. What is paid never changes; that a price is archived shows when it is used.
const REMEMBERED: Duration = Duration::from_secs(600);

/// The most prices that are remembered.
const MAX_REMEMBERED: u64 = 1000;

/// The most lookup keys that Stripe takes in one request.
const MAX_LOOKUP_KEYS: usize = 10;

/// Prices that were asked for, by identifier and by lookup key.
pub(crate) struct Prices {
    by_id: Cache<String, ProviderPrice>,
    by_lookup_key: Cache<String, String>,
}

impl Prices {
    pub(crate) fn new() -> Self {
        Self {
            by_id: Cache::builder()
                .max_capacity(MAX_REMEMBERED)
                .time_to_live(REMEMBERED)
                .build(),
            by_lookup_key: Cache::builder()
                .max_capacity(MAX_REMEMBERED)
                .time_to_live(REMEMBERED)
                .build(),
        }
    }

    /// Forgets a price that did not serve.
    pub(crate) fn forget(&self, sale: &Sale) {
        self.by_lookup_key.invalidate(&sale.lookup_key());
    }

    /// A price; one that is gone is known by its identifier only.
    pub(crate) async fn by_id(&self, http: &Transport, id: &str) -> Result<ProviderPrice, PaymentError> {
        if let Some(known) = self.by_id.get(id) {
            return Ok(known);
        }
        let found = match http.send(Call::get("price", &["prices", id], Form::new())).await {
            Ok(object) => price(&object),
            Err(PaymentError::NotFound(_)) => ProviderPrice {
                id: id.to_owned(),
                lookup_key: None,
                plan: None,
                price: None,
            },
            Err(error) => return Err(error),
        };
        self.by_id.insert(id.to_owned(), found.clone());
        Ok(found)
    }

    /// The identifier of the price at which something is sold. With `on_demand` one that is missing is made, and one that
    /// stands there with other terms gives its lookup key up; without, nothing is sold at other terms than it is offered.
    pub(crate) async fn of_sale(&self, http: &Transport, sale: &Sale, on_demand: bool) -> Result<String, PaymentError> {
        let lookup_key = sale.lookup_key();
        if let Some(known) = self.by_lookup_key.get(&lookup_key) {
            return Ok(known);
        }
        let mut standing = standing(http, sale).await?;
        if on_demand && !matches!(standing, Standing::AsSold(_)) {
            keep_product(http, sale).await?;
            create(http, sale, matches!(standing, Standing::Otherwise)).await?;
            standing = self::standing(http, sale).await?;
        }
        match standing {
            Standing::AsSold(id) => {
                self.by_lookup_key.insert(lookup_key, id.clone());
                Ok(id)
            }
            Standing::Absent => Err(PaymentError::UnknownPrice(lookup_key)),
            Standing::Otherwise => Err(PaymentError::Refused {
                code: None,
                message: format!(
                    "the price `{lookup_key}` stands there with other terms, or archived: raise the plan's version"
                ),
            }),
        }
    }
}

/// How a price of ours stands at Stripe.
enum Standing {
    /// With the terms at which it is sold; its identifier.
    AsSold(String),
    /// With other terms, or archived: it keeps its lookup key.
    Otherwise,
    /// Not at all.
    Absent,
}

async fn standing(http: &Transport, sale: &Sale) -> Result<Standing, PaymentError> {
    let lookup_key = sale.lookup_key();
    let found = find(http, std::slice::from_ref(&lookup_key)).await?;
    let Some(price) = found.get(&lookup_key) else {
        return Ok(Standing::Absent);
    };
    Ok(match (compare(price, sale), text(price, "/id")) {
        (Published::Unchanged, Some(id)) => Standing::AsSold(id.to_owned()),
        _ => Standing::Otherwise,
    })
}

/// Prices by their lookup keys, archived ones too: those keep their key.
async fn find(http: &Transport, lookup_keys: &[String]) -> Result<HashMap<String, Value>, PaymentError> {
    let mut found = HashMap::new();
    for some in lookup_keys.chunks(MAX_LOOKUP_KEYS) {
        let form = Form::new().with_list("lookup_keys", some).with("limit", 100);
        let answer = http.send(Call::get("price", &["prices"], form)).await?;
        for price in list(&answer, "/data") {
            if let Some(lookup_key) = text(price, "/lookup_key") {
                found.insert(lookup_key.to_owned(), price.clone());
            }
        }
    }
    Ok(found)
}

/// How a price that is there compares with what is sold. An archived one cannot be bought, whatever it says.
fn compare(there: &Value, sale: &Sale) -> Published {
    let terms = price(there).price.filter(|_| flag(there, "/active"));
    if terms.as_ref() == Some(&sale.price) {
        Published::Unchanged
    } else {
        Published::Differs { there: terms }
    }
}

/// Makes products and prices that are missing, or says which would be made.
pub(crate) async fn publish(http: &Transport, sales: &[Sale], dry_run: bool) -> Result<Vec<Published>, PaymentError> {
    let lookup_keys: Vec<_> = sales.iter().map(Sale::lookup_key).collect();
    let there = find(http, &lookup_keys).await?;
    if !dry_run {
        for sale in newest(sales) {
            keep_product(http, sale).await?;
        }
    }
    let mut published = Vec::with_capacity(sales.len());
    for (sale, lookup_key) in sales.iter().zip(&lookup_keys) {
        published.push(match there.get(lookup_key) {
            Some(there) => compare(there, sale),
            None if dry_run => Published::Created,
            None => create(http, sale, false).await?,
        });
    }
    Ok(published)
}

/// One sale of each plan, of its highest version: its name is the plan's.
fn newest(sales: &[Sale]) -> Vec<&Sale> {
    let mut newest: Vec<&Sale> = Vec::new();
    for sale in sales {
        match newest.iter_mut().find(|known| known.plan == sale.plan) {
            Some(known) if known.version < sale.version => *known = sale,
            Some(_) => (),
            None => newest.push(sale),
        }
    }
    newest
}

fn product_id(plan: &str) -> String {
    format!("anteroom_{plan}")
}

/// Lets a plan's product be there under its present name.
async fn keep_product(http: &Transport, sale: &Sale) -> Result<(), PaymentError> {
    let id = product_id(&sale.plan);
    let form = Form::new().with("name", &sale.name);
    match http.send(Call::get("product", &["products", &id], Form::new())).await {
        Ok(product) if text(&product, "/name") == Some(&sale.name) => return Ok(()),
        Ok(_) => {
            let path = ["products", id.as_str()];
            http.send(Call::post("product", &path, form, random_key()?)).await?;
            return Ok(());
        }
        Err(PaymentError::NotFound(_)) => (),
        Err(error) => return Err(error),
    }
    let form = form.with("id", &id).with(format!("metadata[{PLAN}]"), &sale.plan);
    match http
        .send(Call::post("product", &["products"], form, random_key()?))
        .await
    {
        // Somebody else has just made it.
        Err(PaymentError::Refused { code: Some(code), .. }) if code == "resource_already_exists" => Ok(()),
        other => other.map(drop),
    }
}

/// Makes a price; with `instead` it takes the lookup key from the one that has it.
async fn create(http: &Transport, sale: &Sale, instead: bool) -> Result<Published, PaymentError> {
    let lookup_key = sale.lookup_key();
    let form = Form::new()
        .with("product", product_id(&sale.plan))
        .with("currency", &sale.price.currency)
        .with("unit_amount", sale.price.amount)
        .with("recurring[interval]", &sale.price.interval)
        .with("lookup_key", &lookup_key)
        .with("transfer_lookup_key", instead)
        .with("nickname", format!("{} v{}", sale.name, sale.version))
        .with(format!("metadata[{PLAN}]"), &sale.plan)
        .with(format!("metadata[{PLAN_VERSION}]"), sale.version);
    let refused = match http.send(Call::post("product", &["prices"], form, random_key()?)).await {
        Ok(_) => return Ok(Published::Created),
        Err(refused @ PaymentError::Refused { .. }) => refused,
        Err(error) => return Err(error),
    };
    // Somebody else may have made it since it was looked for.
    let there = find(http, std::slice::from_ref(&lookup_key)).await?;
    there.get(&lookup_key).map(|there| compare(there, sale)).ok_or(refused)
}

#[cfg(test)]
mod tests {
    use anteroom_domain::billing::Price;
    use serde_json::json;

    use super::*;

    fn sale(plan: &str, version: i32) -> Sale {
        Sale {
            plan: plan.into(),
            version,
            name: format!("{plan} {version}"),
            price: Price {
                amount: 1900,
                currency: "usd".into(),
                interval: "month".into(),
            },
        }
    }

    #[test]
    fn a_product_is_called_as_the_newest_version_of_its_plan() {
        let sales = [sale("pro", 1), sale("team", 2), sale("pro", 3), sale("pro", 2)];
        let names: Vec<_> = newest(&sales).iter().map(|sale| sale.name.as_str()).collect();
        assert_eq!(names, ["pro 3", "team 2"]);
    }

    #[test]
    fn what_stands_there_is_compared_term_by_term() {
        let there = json!({
            "id": "price_1", "active": true, "currency": "usd", "unit_amount": 1900,
            "recurring": {"interval": "month", "interval_count": 1},
        });
        assert_eq!(compare(&there, &sale("pro", 1)), Published::Unchanged);
        for (path, value) in [
            ("/active", json!(false)),
            ("/currency", json!("eur")),
            ("/unit_amount", json!(1901)),
            ("/unit_amount", json!(null)),
            ("/recurring/interval", json!("year")),
            ("/recurring/interval_count", json!(2)),
        ] {
            let mut there = there.clone();
            *there.pointer_mut(path).unwrap() = value;
            assert!(
                matches!(compare(&there, &sale("pro", 1)), Published::Differs { .. }),
                "{path}"
            );
        }
    }
}
