//! `POST /v1/responses`

use actix_web::{HttpRequest, HttpResponse, web};
use anteroom_domain::billing::Operation;
use serde::Serialize;
use serde_json::Value;

use super::dialects::responses::{Answer, Request};
use super::dialects::{self, Stamp};
use super::refusals::OpenAiRefusals;
use crate::Api;
use crate::body::Body;
use crate::caller::Known;
use crate::problem::{OpenAiError, Problem};

/// OpenAI's response, whole or streamed. Nothing of it is kept: `store` is answered as false, and the whole conversation
/// comes with each request.
#[utoipa::path(post, path = "/v1/responses", tag = "chat",
    request_body(content = Object, content_type = "application/json", description = "OpenAI's request: `model`, `input`, `instructions`, `tools` (functions), `stream` and more; docs/API.md lists what is mapped, dropped and refused."),
    responses(
        (status = 200, description = "OpenAI's response; with `stream`, events, whose data are each a `ResponseEvent`. A stream that breaks off ends with `error` and `response.failed`.",
            content((ResponseSchema = "application/json"), (String = "text/event-stream")),
            headers(("anteroom-dropped-parameters" = String, description = "What of the request was not passed on."))),
        OpenAiRefusals,
    ))]
pub async fn handle(
    caller: Known,
    api: web::Data<Api>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let bytes = body.json_bytes(api.options.max_chat_bytes).await?;
    let asked = Request::read(&bytes)?;
    let answer = Answer::new(Stamp::of(&request, &api), asked.model, asked.echo);
    dialects::relay(caller, &api, &request, Operation::Responses, asked.call, answer).await
}

/// OpenAI's response, and what it repeats of the request.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Response)]
pub struct ResponseSchema {
    /// The response's id.
    pub id: String,
    /// Always this.
    #[schema(example = "response")]
    pub object: String,
    /// When, in Unix seconds.
    pub created_at: i64,
    /// `in_progress`, `completed`, `incomplete` or `failed`.
    #[schema(example = "completed")]
    pub status: String,
    /// Always false.
    pub background: bool,
    /// Why it broke off, if it did: `code` and `message`.
    #[schema(value_type = Option<Object>)]
    pub error: Value,
    /// Why it is not whole, if it is not: `reason`.
    #[schema(value_type = Option<Object>)]
    pub incomplete_details: Value,
    /// The model, as its provider names it.
    pub model: String,
    /// What it says.
    pub output: Vec<ResponseItemSchema>,
    /// Always null: nothing is kept.
    pub previous_response_id: Option<String>,
    /// Always false.
    pub store: bool,
    /// Always `disabled`.
    #[schema(example = "disabled")]
    pub truncation: String,
    /// What it used, once it has ended and where the provider says.
    pub usage: Option<ResponseUsageSchema>,
    /// Of the request.
    #[schema(value_type = Option<String>)]
    pub instructions: Value,
    /// Of the request.
    pub max_output_tokens: Option<i64>,
    /// Of the request.
    #[schema(value_type = Object)]
    pub metadata: Value,
    /// Of the request.
    pub parallel_tool_calls: bool,
    /// Of the request.
    #[schema(value_type = Object)]
    pub reasoning: Value,
    /// Of the request.
    pub safety_identifier: Option<String>,
    /// Of the request.
    pub prompt_cache_key: Option<String>,
    /// Of the request.
    pub temperature: Option<f64>,
    /// Of the request.
    #[schema(value_type = Object)]
    pub text: Value,
    /// Of the request: a word or a function.
    #[schema(value_type = Value)]
    pub tool_choice: Value,
    /// Of the request.
    #[schema(value_type = Vec<Object>)]
    pub tools: Value,
    /// Of the request.
    pub top_p: Option<f64>,
    /// Of the request.
    pub user: Option<String>,
}

/// Something that a response consists of.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = ResponseItem)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ResponseItemSchema {
    /// What is said.
    Message {
        /// The item.
        id: String,
        /// `in_progress`, `completed` or `incomplete`.
        status: String,
        /// Always `assistant`.
        role: String,
        /// Its parts.
        content: Vec<ResponsePartSchema>,
    },
    /// A function is called.
    FunctionCall {
        /// The item.
        id: String,
        /// `in_progress`, `completed` or `incomplete`.
        status: String,
        /// The call.
        call_id: String,
        /// The function.
        name: String,
        /// What it is called with: JSON.
        arguments: String,
    },
}

/// A part of a message.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = ResponsePart)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ResponsePartSchema {
    /// Text.
    OutputText {
        /// It.
        text: String,
        /// Always empty.
        #[schema(value_type = Vec<Object>)]
        annotations: Value,
        /// Always empty.
        #[schema(value_type = Vec<Object>)]
        logprobs: Value,
    },
    /// Why nothing is said.
    Refusal {
        /// It.
        refusal: String,
    },
}

/// Tokens, as OpenAI counts them.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = ResponseUsage)]
pub struct ResponseUsageSchema {
    /// Tokens sent, cached ones included.
    pub input_tokens: i64,
    /// Of them: `cached_tokens`, `cache_write_tokens`.
    #[schema(value_type = Object)]
    pub input_tokens_details: Value,
    /// Tokens received, reasoning included.
    pub output_tokens: i64,
    /// Of them: `reasoning_tokens`.
    #[schema(value_type = Object)]
    pub output_tokens_details: Value,
    /// Their sum.
    pub total_tokens: i64,
}

/// The data of an event of a stream, which is named like its `type`. A stream ends with `response.completed`,
/// `response.incomplete`, or `error` and `response.failed` where it breaks off.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = ResponseEvent)]
#[serde(tag = "type")]
pub enum ResponseEventSchema {
    /// The response begins.
    #[serde(rename = "response.created")]
    Created {
        /// Its number.
        sequence_number: u64,
        /// As it stands.
        response: ResponseSchema,
    },
    /// It is under way.
    #[serde(rename = "response.in_progress")]
    InProgress {
        /// Its number.
        sequence_number: u64,
        /// As it stands.
        response: ResponseSchema,
    },
    /// An item begins.
    #[serde(rename = "response.output_item.added")]
    ItemAdded {
        /// Its number.
        sequence_number: u64,
        /// Its place.
        output_index: u64,
        /// As it stands.
        item: ResponseItemSchema,
    },
    /// An item is whole.
    #[serde(rename = "response.output_item.done")]
    ItemDone {
        /// Its number.
        sequence_number: u64,
        /// Its place.
        output_index: u64,
        /// It.
        item: ResponseItemSchema,
    },
    /// A part of a message begins.
    #[serde(rename = "response.content_part.added")]
    PartAdded {
        /// Its number.
        sequence_number: u64,
        /// Which item.
        item_id: String,
        /// Its place.
        output_index: u64,
        /// Which part of it.
        content_index: u64,
        /// As it stands.
        part: ResponsePartSchema,
    },
    /// A part of a message is whole.
    #[serde(rename = "response.content_part.done")]
    PartDone {
        /// Its number.
        sequence_number: u64,
        /// Which item.
        item_id: String,
        /// Its place.
        output_index: u64,
        /// Which part of it.
        content_index: u64,
        /// It.
        part: ResponsePartSchema,
    },
    /// More text.
    #[serde(rename = "response.output_text.delta")]
    TextDelta {
        /// Its number.
        sequence_number: u64,
        /// Which item.
        item_id: String,
        /// Its place.
        output_index: u64,
        /// Which part of it.
        content_index: u64,
        /// It.
        delta: String,
        /// Always empty.
        #[schema(value_type = Vec<Object>)]
        logprobs: Vec<Value>,
    },
    /// The text is whole.
    #[serde(rename = "response.output_text.done")]
    TextDone {
        /// Its number.
        sequence_number: u64,
        /// Which item.
        item_id: String,
        /// Its place.
        output_index: u64,
        /// Which part of it.
        content_index: u64,
        /// It.
        text: String,
        /// Always empty.
        #[schema(value_type = Vec<Object>)]
        logprobs: Vec<Value>,
    },
    /// More of why nothing is said.
    #[serde(rename = "response.refusal.delta")]
    RefusalDelta {
        /// Its number.
        sequence_number: u64,
        /// Which item.
        item_id: String,
        /// Its place.
        output_index: u64,
        /// Which part of it.
        content_index: u64,
        /// It.
        delta: String,
    },
    /// Why nothing is said.
    #[serde(rename = "response.refusal.done")]
    RefusalDone {
        /// Its number.
        sequence_number: u64,
        /// Which item.
        item_id: String,
        /// Its place.
        output_index: u64,
        /// Which part of it.
        content_index: u64,
        /// It.
        refusal: String,
    },
    /// More of what a function is called with.
    #[serde(rename = "response.function_call_arguments.delta")]
    ArgumentsDelta {
        /// Its number.
        sequence_number: u64,
        /// Which item.
        item_id: String,
        /// Its place.
        output_index: u64,
        /// A piece of JSON.
        delta: String,
    },
    /// What a function is called with.
    #[serde(rename = "response.function_call_arguments.done")]
    ArgumentsDone {
        /// Its number.
        sequence_number: u64,
        /// Which item.
        item_id: String,
        /// Its place.
        output_index: u64,
        /// JSON.
        arguments: String,
        /// The function.
        name: String,
    },
    /// The response is whole.
    #[serde(rename = "response.completed")]
    Completed {
        /// Its number.
        sequence_number: u64,
        /// It.
        response: ResponseSchema,
    },
    /// The response was cut off.
    #[serde(rename = "response.incomplete")]
    Incomplete {
        /// Its number.
        sequence_number: u64,
        /// It.
        response: ResponseSchema,
    },
    /// The response broke off.
    #[serde(rename = "response.failed")]
    Failed {
        /// Its number.
        sequence_number: u64,
        /// As far as it came.
        response: ResponseSchema,
    },
    /// It broke off; `response.failed` follows.
    #[serde(rename = "error")]
    Error {
        /// Its number.
        sequence_number: u64,
        /// Stable, for programs.
        code: Option<String>,
        /// What is wrong.
        message: String,
        /// The parameter at fault.
        param: Option<String>,
        /// The same, as the SDKs raise it.
        error: OpenAiError,
    },
}
