//! The letters about plans, payments and limits in English.

use anteroom_domain::billing::{Borne, Meter, PlanChangeReason as Why, Price, Window};

use super::Links;
use super::billing::{BillingLetter, Numbers, named};
use super::en::{day, time};
use super::words::Words;

const NUMBERS: Numbers = Numbers {
    thousands: ',',
    decimals: '.',
};

/// `19.00 USD a month`.
fn paid(price: &Price) -> String {
    let amount = NUMBERS.money(price.amount, &price.currency);
    match price.interval.as_str() {
        "month" => format!("{amount} a month"),
        "year" => format!("{amount} a year"),
        _ => amount,
    }
}

fn counted(what: &str) -> String {
    match Meter::parse(what) {
        Some(Meter::Messages) => "messages".to_owned(),
        Some(Meter::Tokens) => "tokens".to_owned(),
        Some(Meter::Cost) => "budget for models".to_owned(),
        None => named(what),
    }
}

fn span(window: Window) -> &'static str {
    match window {
        Window::Minute => "minute",
        Window::Day => "day",
        Window::Month => "month",
        Window::Always => "period",
    }
}

#[expect(clippy::too_many_lines, reason = "a letter after the other, to be read as such")]
pub(super) fn words(letter: &BillingLetter<'_>, product: &str, links: &Links) -> Words {
    let words = match *letter {
        BillingLetter::TrialEnding {
            plan,
            ends_at,
            price,
            card,
        } => {
            let (plan, sum) = (named(plan), price.map_or_else(|| "the price".to_owned(), paid));
            let then = if card {
                format!("Then your plan goes on, and {sum} is charged to the means of payment that you have given.")
            } else {
                format!(
                    "If you have given a means of payment, your plan goes on then and {sum} is charged to it. Without \
                     one the plan pauses, and nothing is charged."
                )
            };
            Words {
                subject: format!("Your trial of {plan} at {product} ends soon"),
                preheader: format!("On {}.", day(ends_at)),
                title: "Your trial ends soon".to_owned(),
                before: vec![
                    format!("Your trial of {plan} at {product} ends on {}.", time(ends_at)),
                    then,
                ],
                after: vec!["If you do not want that, cancel before then.".to_owned()],
                ..Words::default()
            }
        }
        BillingLetter::PaymentFailed { plan, borne } => {
            let plan = named(plan);
            let holds = match borne {
                Borne::Until(until) => Some(format!("You keep {plan} until {} in the meantime.", time(until))),
                Borne::No => Some(format!("Until it is paid, {plan} is closed.")),
                Borne::Apart => None,
            };
            Words {
                subject: format!("Your payment to {product} failed"),
                preheader: "Please look at your means of payment.".to_owned(),
                title: "Your payment failed".to_owned(),
                before: [
                    Some(format!(
                        "The payment for {plan} at {product} could not be collected. Please see whether your means of \
                         payment is still good, or give another one."
                    )),
                    holds,
                ]
                .into_iter()
                .flatten()
                .collect(),
                after: vec!["If you have paid meanwhile, there is nothing more you need to do.".to_owned()],
                ..Words::default()
            }
        }
        BillingLetter::PlanChanged { from, to, why, price } => {
            let (from, to) = (named(from), named(to));
            let (said, price) = match why {
                Why::Chosen => (
                    format!("Your plan at {product} has changed from {from} to {to}."),
                    price,
                ),
                Why::Trial(until) => {
                    let until = until.map_or_else(String::new, |until| format!(" It lasts until {}.", time(until)));
                    let trial = "It begins with a trial, during which nothing is charged.";
                    (
                        format!("Your plan at {product} has changed from {from} to {to}. {trial}{until}"),
                        price,
                    )
                }
                Why::Unpaid => (
                    format!(
                        "A payment for {from} is missing, so your plan at {product} is {to} now. Once it is paid, \
                         {from} is yours again."
                    ),
                    None,
                ),
                Why::TrialOver => (
                    format!("Your trial of {from} at {product} is over, and your plan is {to} now."),
                    None,
                ),
                Why::Ended => (
                    format!("Your subscription to {from} at {product} has ended, and your plan is {to} now."),
                    None,
                ),
            };
            Words {
                subject: format!("Your plan at {product} is {to} now"),
                preheader: format!("It was {from}."),
                title: format!("Your plan is {to} now"),
                before: vec![said],
                facts: price.map(|price| ("Price", paid(price))).into_iter().collect(),
                ..Words::default()
            }
        }
        BillingLetter::PlanWillChange { from, to, on } => {
            let (from, to) = (named(from), named(to));
            Words {
                subject: format!("Your plan at {product} is going to change"),
                preheader: format!("On {}.", day(on)),
                title: "Your plan is going to change".to_owned(),
                before: vec![format!(
                    "Your plan at {product} stays {from} until {}. From then on it is {to}.",
                    time(on)
                )],
                after: vec!["Until then you can take that back.".to_owned()],
                ..Words::default()
            }
        }
        BillingLetter::PlanStays { plan } => {
            let plan = named(plan);
            Words {
                subject: format!("Your plan at {product} stays {plan}"),
                preheader: "It is not going to change.".to_owned(),
                title: "Your plan stays".to_owned(),
                before: vec![format!(
                    "Your plan at {product} was going to change. That has been taken back: it goes on as {plan}."
                )],
                ..Words::default()
            }
        }
        BillingLetter::QuotaUsed {
            what,
            all,
            used,
            limit,
            beyond,
            window,
            resets_at,
        } => {
            let (counted, span) = (counted(what), span(window));
            let (subject, title, said) = if all {
                (
                    format!("You have used up your {counted} at {product}"),
                    format!("You have used up your {counted}"),
                    match beyond {
                        None => format!(
                            "What your plan at {product} has of {counted} for this {span} is used up. What needs more is \
                             refused until the next {span} begins. A bigger plan may have more."
                        ),
                        Some(most) => format!(
                            "What your plan at {product} includes of {counted} for this {span} is used up. You can go on: up \
                             to {} more are charged with your next bill, as your plan says. A bigger plan may include more.",
                            NUMBERS.amount(what, most)
                        ),
                    },
                )
            } else {
                (
                    format!("You have used 80 % of your {counted} at {product}"),
                    format!("You have used 80 % of your {counted}"),
                    match beyond {
                        None => format!(
                            "Of the {counted} that your plan at {product} has for this {span}, you have used four fifths or \
                             more. When all of it is used up, what needs more is refused until the next {span} begins."
                        ),
                        Some(most) => format!(
                            "Of the {counted} that your plan at {product} includes for this {span}, you have used four fifths \
                             or more. When all of it is used up, up to {} more are charged with your next bill, as your plan \
                             says.",
                            NUMBERS.amount(what, most)
                        ),
                    },
                )
            };
            let level = format!("{} of {}", NUMBERS.amount(what, used), NUMBERS.amount(what, limit));
            let next = resets_at.map(|at| ("Begins anew", time(at)));
            Words {
                subject,
                preheader: format!("{level}."),
                title,
                before: vec![said],
                facts: std::iter::once(("Used", level)).chain(next).collect(),
                ..Words::default()
            }
        }
    };
    let button = match letter {
        BillingLetter::PaymentFailed { .. } => "See to your payment",
        _ => "See your plan",
    };
    Words {
        button: Some((button, links.billing.clone())),
        ..words
    }
}
