//! `/v1/products`.

use serde_json::{Value, json};

use super::{Call, deleted, list, merge_metadata, take_texts};
use crate::error::{Answer, ApiError};
use crate::form::Params;
use crate::ids::random_id;
use crate::json::{set, text, truth};
use crate::world::World;

const TEXTS: [&str; 5] = ["description", "statement_descriptor", "tax_code", "unit_label", "url"];

/// Answers a request to products.
pub(super) fn route(world: &mut World, call: Call<'_>) -> Answer {
    match (call.method, call.rest) {
        ("POST", []) => create(world, call.params),
        ("GET", []) => list_all(world, call.params),
        ("GET", [id]) => {
            call.params.finish()?;
            world.find("product", id, "product", "id")
        }
        ("POST", [id]) => update(world, id, call.params),
        ("DELETE", [id]) => delete(world, id, call.params),
        _ => call.nowhere("products"),
    }
}

fn create(world: &mut World, mut params: Params) -> Answer {
    let id = params.opt("id")?.unwrap_or_else(|| random_id("prod_"));
    let name = params.required("name")?;
    let active = params.boolean("active")?.unwrap_or(true);
    let mut product = json!({
        "id": id, "object": "product", "active": active, "created": world.at, "default_price": null, "description": null,
        "images": [], "livemode": false, "marketing_features": [], "metadata": {}, "name": name,
        "package_dimensions": null, "shippable": null, "statement_descriptor": null, "tax_code": null, "tax_details": null, "type": "service",
        "unit_label": null, "updated": world.at, "url": null,
    });
    take_texts(&mut product, &mut params, &TEXTS)?;
    params.ignore(&["type"]);
    merge_metadata(&mut product, params.metadata("metadata")?);
    params.finish()?;
    if world.get(&id).is_some() {
        return Err(ApiError::coded("resource_already_exists", "Product already exists.").about("id"));
    }
    world.create(&product, "product.created");
    Ok(product)
}

/// A product that is made with its price (`product_data`).
pub(super) fn from_data(world: &mut World, mut data: Params) -> Result<Value, ApiError> {
    data.ignore(&["images"]);
    create(world, data)
}

fn update(world: &mut World, id: &str, mut params: Params) -> Answer {
    let mut product = world.find("product", id, "product", "id")?;
    if let Some(name) = params.opt("name")? {
        set(&mut product, "name", name);
    }
    if let Some(active) = params.boolean("active")? {
        set(&mut product, "active", active);
    }
    if let Some(price) = params.opt("default_price")? {
        world.find("price", &price, "price", "default_price")?;
        set(&mut product, "default_price", price);
    }
    take_texts(&mut product, &mut params, &TEXTS)?;
    merge_metadata(&mut product, params.metadata("metadata")?);
    params.finish()?;
    if world.get(id) != Some(&product) {
        set(&mut product, "updated", world.at);
    }
    world.change(product.clone(), "product.updated");
    Ok(product)
}

fn delete(world: &mut World, id: &str, params: Params) -> Answer {
    params.finish()?;
    let product = world.find("product", id, "product", "id")?;
    if world.of_kind("price").any(|price| text(price, "product") == id) {
        let message = "This product cannot be deleted because it has one or more user-created prices.";
        return Err(ApiError::refused(message));
    }
    world.remove(id);
    world.emit("product.deleted", &product, None);
    Ok(deleted(id, "product"))
}

fn list_all(world: &World, mut params: Params) -> Answer {
    let active = params.boolean("active")?;
    let ids = params.texts("ids")?;
    list(world, params, ("product", "/v1/products"), |product| {
        active.is_none_or(|active| truth(product, "active") == active)
            && (ids.is_empty() || ids.iter().any(|id| id == text(product, "id")))
    })
}
