//! What neither client nor server has ever told Anteroom of travels both ways as it was written: names in their order,
//! numbers digit by digit.

use std::fmt::Write as _;

use anteroom_tests::{Script, Setup, Upstream, on_every_store};

use super::plans_with_limit;

on_every_store![fields_that_nobody_knows_survive_there_and_back];

/// Numbers that a reader who takes them for doubles gets wrong, writes differently or refuses.
const NUMBERS: [&str; 14] = [
    "0",
    "-0",
    "-0.0",
    "0.10",
    "1.50",
    "1e400",
    "-1E+400",
    "1e-400",
    "12345678901234567890",
    "-98765432109876543210",
    "9007199254740993",
    "3.141592653589793238462643383279",
    "1E5",
    "5e-07",
];

/// Texts as they stand in JSON.
const TEXTS: [&str; 7] = [
    r#""""#,
    r#""plain""#,
    r#""gr\u00fc\u00DF""#,
    r#""ü € 😀""#,
    r#""\ud83d\ude00 \/ \" \\ \b\f\n\r\t""#,
    r#""<script>&amp;'""#,
    r#""data: [DONE]\n\n""#,
];

/// Draws from a fixed row of numbers (Knuth's constants), so that a failure happens again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    fn space(&mut self) -> &'static str {
        self.pick(&["", "", "", " ", "  ", "\t"])
    }

    /// Any JSON.
    fn value(&mut self, depth: usize) -> String {
        let kinds = if depth == 0 { 4 } else { 6 };
        match self.below(kinds) {
            0 | 1 => self.pick(&NUMBERS).to_owned(),
            2 => self.pick(&TEXTS).to_owned(),
            3 => self.pick(&["true", "false", "null"]).to_owned(),
            4 => {
                let items: Vec<String> = (0..self.below(4)).map(|_| self.value(depth - 1)).collect();
                let (before, after) = (self.space(), self.space());
                format!("[{before}{}{after}]", items.join(self.pick(&[",", ", ", " ,"])))
            }
            _ => {
                let extras = self.extras(depth - 1);
                self.object(&extras)
            }
        }
    }

    /// Members that nobody knows, in no order of theirs.
    fn extras(&mut self, depth: usize) -> Vec<(String, String)> {
        let count = self.below(5);
        let name = |dice: &mut Self, number: usize| {
            let stem = dice.pick(&["x_", "zz-", "a.", "ü", "X", "0"]);
            format!("{stem}{number}")
        };
        (0..count)
            .map(|number| (name(self, number), self.value(depth)))
            .collect()
    }

    /// These members in any order.
    fn shuffled(&mut self, mut members: Vec<(String, String)>) -> Vec<(String, String)> {
        for last in (1..members.len()).rev() {
            members.swap(last, self.below(last + 1));
        }
        members
    }

    /// An object, with spaces wherever they may be.
    fn object(&mut self, members: &[(String, String)]) -> String {
        let mut text = "{".to_owned();
        for (number, (name, value)) in members.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            let spaces = [self.space(), self.space(), self.space(), self.space()];
            write!(
                text,
                "{comma}{}\"{name}\"{}:{}{value}{}",
                spaces[0], spaces[1], spaces[2], spaces[3]
            )
            .unwrap();
        }
        text + "}"
    }

    /// An object with these members and others, in any order.
    fn object_with(&mut self, known: &[(&str, String)]) -> String {
        let members = self.members_with(known);
        self.object(&members)
    }

    fn members_with(&mut self, known: &[(&str, String)]) -> Vec<(String, String)> {
        let mut members: Vec<(String, String)> = known
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        members.extend(self.extras(2));
        self.shuffled(members)
    }
}

/// An object without spaces between its members, which are Anteroom's.
fn compact(members: &[(String, String)]) -> String {
    let members: Vec<String> = members
        .iter()
        .map(|(name, value)| format!("\"{name}\":{value}"))
        .collect();
    format!("{{{}}}", members.join(","))
}

fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

async fn fields_that_nobody_knows_survive_there_and_back(setup: &Setup) {
    let upstream = Upstream::start().await;
    let plans = plans_with_limit(1000);
    let mut settings = upstream.settings("m").to_vec();
    settings.push(("billing.plans", &plans));
    let app = setup.app_with(&settings).await;
    let user = app.user().await;
    let ask = |body: &str| {
        let ask = app.post("/v1/chat/completions").by(&user);
        ask.header("content-type", "application/json").body(body).unjudged()
    };
    for seed in 0..40 {
        let dice = &mut Dice(seed);
        let part = dice.object_with(&[("type", quoted("text")), ("text", quoted("hi"))]);
        let content = dice.pick(&["\"hi\"", "PARTS"]).replace("PARTS", &format!("[{part}]"));
        let message = dice.object_with(&[("role", quoted("user")), ("content", content)]);
        let messages = format!("[{}{message}{}]", dice.space(), dice.space());
        let asked = [("model", quoted("m")), ("messages", messages)];

        // At once.
        let said = dice.object_with(&[("role", quoted("assistant")), ("content", quoted("yes"))]);
        let choice = dice.object_with(&[("index", "0".to_owned()), ("message", said)]);
        let answer = dice.object_with(&[("id", quoted("c")), ("choices", format!("[{choice}]"))]);
        upstream.on("m", Script::json(&answer));
        let members = dice.members_with(&asked);
        let relayed = ask(&dice.object(&members)).await.is(200);
        assert_eq!(relayed.text(), answer, "seed {seed}");
        let sent = String::from_utf8(upstream.last().body).unwrap();
        assert_eq!(sent, compact(&members), "seed {seed}");

        // Streamed.
        let mut data: Vec<String> = Vec::new();
        for _ in 0..=dice.below(3) {
            let delta = dice.object_with(&[("content", quoted("yes"))]);
            let choice = dice.object_with(&[("index", "0".to_owned()), ("delta", delta)]);
            data.push(dice.object_with(&[("id", quoted("c")), ("choices", format!("[{choice}]"))]));
        }
        let usage = dice.object_with(&[("prompt_tokens", "5".to_owned()), ("completion_tokens", "2".to_owned())]);
        data.push(dice.object_with(&[("choices", "[]".to_owned()), ("usage", usage)]));
        data.push("[DONE]".to_owned());
        upstream.on("m", Script::data(&data.iter().map(String::as_str).collect::<Vec<_>>()));
        let options = dice.object_with(&[("include_usage", "true".to_owned())]);
        let mut asked = asked.to_vec();
        asked.extend([("stream", "true".to_owned()), ("stream_options", options)]);
        let members = dice.members_with(&asked);
        let events = ask(&dice.object(&members)).stream().await.rest().await;
        let came: Vec<String> = events.into_iter().map(|event| event.data).collect();
        assert_eq!(came, data, "seed {seed}");
        let sent = String::from_utf8(upstream.last().body).unwrap();
        assert_eq!(sent, compact(&members), "seed {seed}");
    }
}
