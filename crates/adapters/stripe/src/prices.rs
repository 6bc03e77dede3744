//! Prices: found by their lookup key, and published.

use std::collections::HashMap;
use std::time::Duration;

use moka::sync::Cache;
use serde_json::Value;

use anteroom_ports::billing::{MeteredPrice, PaymentError, ProviderPrice, Published, Sale};

use crate::form::Form;
use crate::json::{flag, int, list, text};
use crate::meters::{self, COUNTED};
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

    /// Forgets prices that did not serve.
    pub(crate) fn forget(&self, sale: &Sale) {
        for wanted in Wanted::all(sale) {
            self.by_lookup_key.invalidate(&wanted.lookup_key);
        }
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

    /// The identifiers of the prices at which something is sold. With `on_demand` one that is missing is made, and one that
    /// stands there with other terms gives its lookup key up; without, nothing is sold at other terms than it is offered.
    pub(crate) async fn of_sale(&self, http: &Transport, sale: &Sale, on_demand: bool) -> Result<Sold, PaymentError> {
        let price = self.of(http, &Wanted::plan(sale), on_demand).await?;
        let mut metered = Vec::with_capacity(sale.metered.len());
        for wanted in Wanted::metered(sale) {
            metered.push(self.of(http, &wanted, on_demand).await?);
        }
        Ok(Sold { price, metered })
    }

    async fn of(&self, http: &Transport, wanted: &Wanted<'_>, on_demand: bool) -> Result<String, PaymentError> {
        let lookup_key = wanted.lookup_key.clone();
        if let Some(known) = self.by_lookup_key.get(&lookup_key) {
            return Ok(known);
        }
        let mut standing = standing(http, wanted).await?;
        if on_demand && !matches!(standing, Standing::AsSold(_)) {
            keep_product(http, wanted.sale).await?;
            create(http, wanted, matches!(standing, Standing::Otherwise)).await?;
            standing = self::standing(http, wanted).await?;
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

/// The prices of something that is sold.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sold {
    /// The plan's.
    pub(crate) price: String,
    /// Of what is used beyond it.
    pub(crate) metered: Vec<String>,
}

/// A price that something sold is to have.
struct Wanted<'a> {
    sale: &'a Sale,
    /// What is used beyond the plan; `None` is the plan itself.
    counted: Option<&'a MeteredPrice>,
    lookup_key: String,
}

impl<'a> Wanted<'a> {
    fn plan(sale: &'a Sale) -> Self {
        Self {
            sale,
            counted: None,
            lookup_key: sale.lookup_key(),
        }
    }

    fn metered(sale: &'a Sale) -> impl Iterator<Item = Self> {
        sale.metered.iter().map(move |counted| Self {
            sale,
            counted: Some(counted),
            lookup_key: sale.metered_lookup_key(counted),
        })
    }

    fn all(sale: &'a Sale) -> impl Iterator<Item = Self> {
        std::iter::once(Self::plan(sale)).chain(Self::metered(sale))
    }

    /// How a price that is there compares with it. An archived one cannot be bought, whatever it says.
    fn compare(&self, there: &Value) -> Published {
        let active = flag(there, "/active");
        let Some(counted) = self.counted else {
            let terms = price(there).price.filter(|_| active);
            if terms.as_ref() == Some(&self.sale.price) {
                return Published::Unchanged;
            }
            return Published::Differs { there: terms };
        };
        let price = &self.sale.price;
        let single = int(there, "/recurring/interval_count").unwrap_or(1) == 1;
        let same = active
            && single
            && text(there, "/recurring/usage_type") == Some("metered")
            && text(there, "/recurring/interval") == Some(&price.interval)
            && text(there, "/currency") == Some(&price.currency)
            && text(there, "/unit_amount_decimal").and_then(|amount| amount.parse().ok()) == Some(counted.amount);
        if same {
            Published::Unchanged
        } else {
            Published::Differs { there: None }
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

async fn standing(http: &Transport, wanted: &Wanted<'_>) -> Result<Standing, PaymentError> {
    let found = find(http, std::slice::from_ref(&wanted.lookup_key)).await?;
    let Some(price) = found.get(&wanted.lookup_key) else {
        return Ok(Standing::Absent);
    };
    Ok(match (wanted.compare(price), text(price, "/id")) {
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

/// Makes products and prices that are missing, or says which would be made.
pub(crate) async fn publish(http: &Transport, sales: &[Sale], dry_run: bool) -> Result<Vec<Published>, PaymentError> {
    let lookup_keys = sales.iter().flat_map(Wanted::all).map(|wanted| wanted.lookup_key);
    let there = find(http, &lookup_keys.collect::<Vec<_>>()).await?;
    if !dry_run {
        for sale in newest(sales) {
            keep_product(http, sale).await?;
        }
    }
    let mut published = Vec::with_capacity(sales.len());
    for sale in sales {
        let mut worst = Published::Unchanged;
        for wanted in Wanted::all(sale) {
            let one = match there.get(&wanted.lookup_key) {
                Some(there) => wanted.compare(there),
                None if dry_run => Published::Created,
                None => create(http, &wanted, false).await?,
            };
            // What differs in any of its prices differs.
            if !matches!(worst, Published::Differs { .. }) && one != Published::Unchanged {
                worst = one;
            }
        }
        published.push(worst);
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
async fn create(http: &Transport, wanted: &Wanted<'_>, instead: bool) -> Result<Published, PaymentError> {
    let (sale, lookup_key) = (wanted.sale, &wanted.lookup_key);
    let form = Form::new()
        .with("product", product_id(&sale.plan))
        .with("currency", &sale.price.currency)
        .with("recurring[interval]", &sale.price.interval)
        .with("lookup_key", lookup_key)
        .with("transfer_lookup_key", instead)
        .with(format!("metadata[{PLAN}]"), &sale.plan)
        .with(format!("metadata[{PLAN_VERSION}]"), sale.version);
    let name = format!("{} v{}", sale.name, sale.version);
    let form = match wanted.counted {
        None => form.with("unit_amount", sale.price.amount).with("nickname", name),
        Some(counted) => form
            .with("unit_amount_decimal", counted.amount)
            .with("recurring[usage_type]", "metered")
            .with("recurring[meter]", meters::keep(http, &counted.key).await?)
            .with("nickname", format!("{name}: {} beyond what is included", counted.key))
            .with(format!("metadata[{COUNTED}]"), &counted.key),
    };
    let refused = match http.send(Call::post("product", &["prices"], form, random_key()?)).await {
        Ok(_) => return Ok(Published::Created),
        Err(refused @ PaymentError::Refused { .. }) => refused,
        Err(error) => return Err(error),
    };
    // Somebody else may have made it since it was looked for.
    let there = find(http, std::slice::from_ref(lookup_key)).await?;
    there.get(lookup_key).map(|there| wanted.compare(there)).ok_or(refused)
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
            metered: vec![MeteredPrice {
                key: "tokens".into(),
                amount: "0.05".parse().unwrap(),
            }],
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
        let sold = sale("pro", 1);
        let wanted = Wanted::plan(&sold);
        assert_eq!(wanted.compare(&there), Published::Unchanged);
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
            assert!(matches!(wanted.compare(&there), Published::Differs { .. }), "{path}");
        }
    }

    #[test]
    fn what_is_metered_is_compared_as_well() {
        let there = json!({
            "id": "price_1", "active": true, "currency": "usd", "unit_amount": null, "unit_amount_decimal": "0.050",
            "recurring": {"interval": "month", "interval_count": 1, "usage_type": "metered", "meter": "mtr_1"},
        });
        let sold = sale("pro", 1);
        let wanted = Wanted::metered(&sold).next().unwrap();
        assert_eq!(wanted.lookup_key, "anteroom_pro_v1_month_usd.tokens");
        assert_eq!(wanted.compare(&there), Published::Unchanged);
        for (path, value) in [
            ("/active", json!(false)),
            ("/currency", json!("eur")),
            ("/unit_amount_decimal", json!("0.06")),
            ("/recurring/interval", json!("year")),
            ("/recurring/interval_count", json!(2)),
            ("/recurring/usage_type", json!("licensed")),
        ] {
            let mut there = there.clone();
            *there.pointer_mut(path).unwrap() = value;
            assert_eq!(wanted.compare(&there), Published::Differs { there: None }, "{path}");
        }
    }
}
