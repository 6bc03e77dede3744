//! The letters about plans, payments and limits in German.

use anteroom_domain::billing::{Borne, Meter, PlanChangeReason as Why, Price, Window};

use super::Links;
use super::billing::{BillingLetter, Numbers, named};
use super::de::{day, time};
use super::words::Words;

const NUMBERS: Numbers = Numbers {
    thousands: '.',
    decimals: ',',
};

/// `19,00 USD im Monat`.
fn paid(price: &Price) -> String {
    let amount = NUMBERS.money(price.amount, &price.currency);
    match price.interval.as_str() {
        "month" => format!("{amount} im Monat"),
        "year" => format!("{amount} im Jahr"),
        _ => amount,
    }
}

/// As it is headed, so that it fits whatever its gender.
fn counted(what: &str) -> String {
    match Meter::parse(what) {
        Some(Meter::Messages) => "Nachrichten".to_owned(),
        Some(Meter::Tokens) => "Tokens".to_owned(),
        Some(Meter::Cost) => "Budget für Modelle".to_owned(),
        None => named(what),
    }
}

/// "für …", "bis zum nächsten …".
fn span(window: Window) -> (&'static str, &'static str) {
    match window {
        Window::Minute => ("diese Minute", "zur nächsten Minute"),
        Window::Day => ("diesen Tag", "zum nächsten Tag"),
        Window::Month => ("diesen Monat", "zum nächsten Monat"),
        Window::Always => ("diesen Zeitraum", "zum nächsten Zeitraum"),
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
            let plan = named(plan);
            let sum = price.map_or_else(String::new, |price| format!(": {}", paid(price)));
            let then = if card {
                format!(
                    "Danach läuft Ihr Tarif weiter, und das Zahlungsmittel, das Sie angegeben haben, wird belastet{sum}."
                )
            } else {
                format!(
                    "Haben Sie ein Zahlungsmittel angegeben, so läuft Ihr Tarif danach weiter, und es wird belastet{sum}. \
                     Sonst ruht der Tarif, und es wird nichts berechnet."
                )
            };
            Words {
                subject: format!("Ihr Probezeitraum für {plan} bei {product} endet bald"),
                preheader: format!("Am {}.", day(ends_at)),
                title: "Ihr Probezeitraum endet bald".to_owned(),
                before: vec![
                    format!("Ihr Probezeitraum für {plan} bei {product} endet am {}.", time(ends_at)),
                    then,
                ],
                after: vec!["Wenn Sie das nicht möchten, kündigen Sie bitte vorher.".to_owned()],
                ..Words::default()
            }
        }
        BillingLetter::PaymentFailed { plan, borne } => {
            let plan = named(plan);
            let holds = match borne {
                Borne::Until(until) => Some(format!("Bis {} behalten Sie {plan} trotzdem.", time(until))),
                Borne::No => Some(format!("Bis sie bezahlt ist, ist {plan} gesperrt.")),
                Borne::Apart => None,
            };
            Words {
                subject: format!("Ihre Zahlung an {product} ist fehlgeschlagen"),
                preheader: "Bitte prüfen Sie Ihr Zahlungsmittel.".to_owned(),
                title: "Ihre Zahlung ist fehlgeschlagen".to_owned(),
                before: [
                    Some(format!(
                        "Die Zahlung für {plan} bei {product} konnte nicht eingezogen werden. Bitte prüfen Sie, ob Ihr \
                         Zahlungsmittel noch gilt, oder geben Sie ein anderes an."
                    )),
                    holds,
                ]
                .into_iter()
                .flatten()
                .collect(),
                after: vec!["Wenn Sie inzwischen bezahlt haben, müssen Sie nichts weiter tun.".to_owned()],
                ..Words::default()
            }
        }
        BillingLetter::PlanChanged { from, to, why, price } => {
            let (from, to) = (named(from), named(to));
            let (said, price) = match why {
                Why::Chosen => (format!("Ihr Tarif bei {product} ist jetzt {to}, bisher {from}."), price),
                Why::Trial(until) => {
                    let until = until.map_or_else(String::new, |until| format!(" Er dauert bis {}.", time(until)));
                    let trial = "Er beginnt mit einem Probezeitraum, in dem nichts berechnet wird.";
                    (
                        format!("Ihr Tarif bei {product} ist jetzt {to}, bisher {from}. {trial}{until}"),
                        price,
                    )
                }
                Why::Unpaid => (
                    format!(
                        "Eine Zahlung für {from} fehlt, deshalb ist Ihr Tarif bei {product} jetzt {to}. Sobald sie \
                         bezahlt ist, haben Sie {from} wieder."
                    ),
                    None,
                ),
                Why::TrialOver => (
                    format!("Ihr Probezeitraum für {from} bei {product} ist vorbei, und Ihr Tarif ist jetzt {to}."),
                    None,
                ),
                Why::Ended => (
                    format!("Ihr Abonnement von {from} bei {product} ist beendet, und Ihr Tarif ist jetzt {to}."),
                    None,
                ),
            };
            Words {
                subject: format!("Ihr Tarif bei {product} ist jetzt {to}"),
                preheader: format!("Bisher war es {from}."),
                title: format!("Ihr Tarif ist jetzt {to}"),
                before: vec![said],
                facts: price.map(|price| ("Preis", paid(price))).into_iter().collect(),
                ..Words::default()
            }
        }
        BillingLetter::PlanWillChange { from, to, on } => {
            let (from, to) = (named(from), named(to));
            Words {
                subject: format!("Ihr Tarif bei {product} ändert sich"),
                preheader: format!("Am {}.", day(on)),
                title: "Ihr Tarif ändert sich".to_owned(),
                before: vec![format!(
                    "Ihr Tarif bei {product} bleibt bis {} {from}. Danach ist es {to}.",
                    time(on)
                )],
                after: vec!["Bis dahin können Sie das zurücknehmen.".to_owned()],
                ..Words::default()
            }
        }
        BillingLetter::PlanStays { plan } => {
            let plan = named(plan);
            Words {
                subject: format!("Ihr Tarif bei {product} bleibt {plan}"),
                preheader: "Er ändert sich nicht.".to_owned(),
                title: "Ihr Tarif bleibt".to_owned(),
                before: vec![format!(
                    "Ihr Tarif bei {product} sollte sich ändern. Das wurde zurückgenommen: Er läuft als {plan} weiter."
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
            let (counted, (this, next)) = (counted(what), span(window));
            let (subject, title, said) = if all {
                (
                    format!("Bei {product} aufgebraucht: {counted}"),
                    format!("Aufgebraucht: {counted}"),
                    match beyond {
                        None => format!(
                            "Was Ihr Tarif bei {product} für {this} an {counted} enthält, ist aufgebraucht. Was mehr davon \
                             braucht, wird bis {next} abgelehnt. Ein größerer Tarif enthält vielleicht mehr."
                        ),
                        Some(most) => format!(
                            "Was Ihr Tarif bei {product} für {this} an {counted} enthält, ist aufgebraucht. Es geht trotzdem \
                             weiter: Bis zu {} mehr werden mit der nächsten Rechnung berechnet, so wie es Ihr Tarif vorsieht. \
                             Ein größerer Tarif enthält vielleicht mehr.",
                            NUMBERS.amount(what, most)
                        ),
                    },
                )
            } else {
                (
                    format!("Bei {product} zu 80 % verbraucht: {counted}"),
                    format!("Zu 80 % verbraucht: {counted}"),
                    match beyond {
                        None => format!(
                            "Von dem, was Ihr Tarif bei {product} für {this} an {counted} enthält, haben Sie vier Fünftel \
                             oder mehr verbraucht. Ist es aufgebraucht, so wird bis {next} abgelehnt, was mehr davon braucht."
                        ),
                        Some(most) => format!(
                            "Von dem, was Ihr Tarif bei {product} für {this} an {counted} enthält, haben Sie vier Fünftel \
                             oder mehr verbraucht. Ist es aufgebraucht, so werden bis zu {} mehr mit der nächsten Rechnung \
                             berechnet, so wie es Ihr Tarif vorsieht.",
                            NUMBERS.amount(what, most)
                        ),
                    },
                )
            };
            let level = format!("{} von {}", NUMBERS.amount(what, used), NUMBERS.amount(what, limit));
            let anew = resets_at.map(|at| ("Beginnt neu", time(at)));
            Words {
                subject,
                preheader: format!("{level}."),
                title,
                before: vec![said],
                facts: std::iter::once(("Verbraucht", level)).chain(anew).collect(),
                ..Words::default()
            }
        }
    };
    let button = match letter {
        BillingLetter::PaymentFailed { .. } => "Zahlung ansehen",
        _ => "Tarif ansehen",
    };
    Words {
        button: Some((button, links.billing.clone())),
        ..words
    }
}
