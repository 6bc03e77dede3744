//! The letters in German.

use anteroom_domain::Timestamp;

use super::words::{Words, time_parts};
use super::{Links, de_billing, plain, shown_key};
use crate::webhooks::{KeyAct, Letter};

const MONTHS: [&str; 12] = [
    "Januar",
    "Februar",
    "März",
    "April",
    "Mai",
    "Juni",
    "Juli",
    "August",
    "September",
    "Oktober",
    "November",
    "Dezember",
];

pub(super) const SUPPORT: &str = "Fragen?";
pub(super) const LINK: &str = "Falls der Knopf nicht funktioniert, öffnen Sie diese Adresse:";

pub(super) fn greeting(name: Option<&str>) -> String {
    name.map_or_else(|| "Guten Tag,".to_owned(), |name| format!("Guten Tag {name},"))
}

pub(super) fn time(at: Timestamp) -> String {
    let (day, month, year, clock) = time_parts(at);
    format!("{day}. {} {year}, {clock} Uhr (UTC)", MONTHS[month])
}

pub(super) fn day(at: Timestamp) -> String {
    let (day, month, year, _) = time_parts(at);
    format!("{day}. {} {year}", MONTHS[month])
}

/// In the dative: "innerhalb von …".
fn hours(n: i64) -> String {
    match n {
        1 => "einer Stunde".to_owned(),
        n if n >= 48 && n % 24 == 0 => format!("{} Tagen", n / 24),
        n => format!("{n} Stunden"),
    }
}

fn minutes(n: i64) -> String {
    match n {
        1 => "einer Minute".to_owned(),
        n if n >= 60 && n % 60 == 0 => hours(n / 60),
        n => format!("{n} Minuten"),
    }
}

fn facts(
    device: Option<&str>,
    address: Option<&str>,
    country: Option<&str>,
    at: Timestamp,
) -> Vec<(&'static str, String)> {
    let known = [
        ("Gerät", device.and_then(plain::fact)),
        ("Adresse", address.and_then(plain::network_address)),
        ("Land", country.and_then(plain::fact)),
        ("Zeit", Some(time(at))),
    ];
    known
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

#[expect(clippy::too_many_lines, reason = "a letter after the other, to be read as such")]
pub(super) fn words(letter: &Letter<'_>, product: &str, links: &Links) -> Words {
    let once = |within: String| format!("Der Link gilt einmal, innerhalb von {within}.");
    match letter {
        Letter::VerifyEmail { token, expires_hours } => Words {
            subject: format!("Bestätigen Sie Ihre E-Mail-Adresse für {product}"),
            preheader: format!("Ein Klick, innerhalb von {}.", hours(*expires_hours)),
            title: "Bestätigen Sie Ihre E-Mail-Adresse".to_owned(),
            before: vec![format!(
                "Jemand, hoffentlich Sie, hat bei {product} diese Adresse angegeben. Bitte bestätigen Sie, dass sie \
                 Ihnen gehört."
            )],
            button: Some(("Adresse bestätigen", links.verify_email(token))),
            after: vec![
                once(hours(*expires_hours)),
                "Wenn Sie davon nichts wissen, ignorieren Sie diese E-Mail: Ohne Ihre Bestätigung bleibt die Adresse \
                 unbestätigt."
                    .to_owned(),
            ],
            ..Words::default()
        },
        Letter::SignUpWithTakenEmail => Words {
            subject: format!("Sie haben schon ein Konto bei {product}"),
            preheader: "Jemand wollte sich mit Ihrer Adresse registrieren.".to_owned(),
            title: "Sie haben schon ein Konto".to_owned(),
            before: vec![
                format!("Jemand, vermutlich Sie, wollte sich gerade mit dieser Adresse bei {product} registrieren."),
                "Zu ihr gibt es schon ein Konto, deshalb wurde nichts geändert. Melden Sie sich stattdessen an; ein \
                 vergessenes Passwort können Sie dort zurücksetzen."
                    .to_owned(),
            ],
            after: vec!["Wenn Sie das nicht waren, müssen Sie nichts tun.".to_owned()],
            ..Words::default()
        },
        Letter::ResetPassword { token, expires_minutes } => Words {
            subject: format!("Setzen Sie Ihr Passwort für {product} zurück"),
            preheader: format!("Der Link gilt einmal, innerhalb von {}.", minutes(*expires_minutes)),
            title: "Setzen Sie Ihr Passwort zurück".to_owned(),
            before: vec![format!(
                "Jemand, hoffentlich Sie, hat für Ihr Konto bei {product} ein neues Passwort angefordert."
            )],
            button: Some(("Neues Passwort wählen", links.reset_password(token))),
            after: vec![
                once(minutes(*expires_minutes)),
                "Wenn Sie das nicht waren, ignorieren Sie diese E-Mail: Ihr Passwort bleibt, wie es ist.".to_owned(),
            ],
            ..Words::default()
        },
        Letter::PasswordResetByAdmin { token, expires_minutes } => Words {
            subject: format!("Wählen Sie ein neues Passwort für {product}"),
            preheader: format!("Der Link gilt einmal, innerhalb von {}.", minutes(*expires_minutes)),
            title: "Wählen Sie ein neues Passwort".to_owned(),
            before: vec![format!(
                "Die Betreiber von {product} haben Ihnen diesen Link geschickt, mit dem Sie ein neues Passwort für Ihr \
                 Konto wählen können. Niemand außer Ihnen erfährt, welches."
            )],
            button: Some(("Neues Passwort wählen", links.reset_password(token))),
            after: vec![
                once(minutes(*expires_minutes)),
                "Bis Sie ihn benutzen, bleibt Ihr Passwort, wie es ist.".to_owned(),
            ],
            ..Words::default()
        },
        Letter::PasswordChanged => Words {
            subject: format!("Ihr Passwort für {product} wurde geändert"),
            preheader: "Alle anderen Sitzungen wurden beendet.".to_owned(),
            title: "Ihr Passwort wurde geändert".to_owned(),
            before: vec![format!(
                "Das Passwort Ihres Kontos bei {product} wurde soeben geändert. Alle anderen Sitzungen wurden beendet."
            )],
            after: vec![
                "Wenn Sie das nicht waren, setzen Sie Ihr Passwort jetzt über die Anmeldeseite zurück und sagen Sie \
                 uns Bescheid."
                    .to_owned(),
            ],
            ..Words::default()
        },
        Letter::PasswordReset => Words {
            subject: format!("Ihr Passwort für {product} wurde zurückgesetzt"),
            preheader: "Alle Sitzungen wurden beendet.".to_owned(),
            title: "Ihr Passwort wurde zurückgesetzt".to_owned(),
            before: vec![format!(
                "Das Passwort Ihres Kontos bei {product} wurde soeben mit einem Link zurückgesetzt, den wir an diese \
                 Adresse geschickt hatten. Alle Sitzungen wurden beendet; melden Sie sich mit dem neuen Passwort an."
            )],
            after: vec![
                "Wenn Sie das nicht waren, liest jemand Ihre E-Mails mit: Sichern Sie Ihr Postfach und setzen Sie dann \
                 Ihr Passwort über die Anmeldeseite zurück."
                    .to_owned(),
            ],
            ..Words::default()
        },
        Letter::ConfirmNewEmail {
            token,
            new_email,
            expires_hours,
        } => Words {
            subject: format!("Bestätigen Sie Ihre neue E-Mail-Adresse für {product}"),
            preheader: format!("Ein Klick, innerhalb von {}.", hours(*expires_hours)),
            title: "Bestätigen Sie Ihre neue E-Mail-Adresse".to_owned(),
            before: vec![format!(
                "Ein Konto bei {product} soll künftig die Adresse {} verwenden. Bitte bestätigen Sie, dass sie Ihnen \
                 gehört.",
                plain::email(new_email)
            )],
            button: Some(("Adresse bestätigen", links.confirm_email(token))),
            after: vec![
                once(hours(*expires_hours)),
                "Wenn Sie davon nichts wissen, ignorieren Sie diese E-Mail: Ohne Ihre Bestätigung ändert sich nichts."
                    .to_owned(),
            ],
            ..Words::default()
        },
        Letter::EmailChangeRequested {
            new_email,
            undo_token,
            undo_hours,
        } => Words {
            subject: format!("Ihre E-Mail-Adresse für {product} soll geändert werden"),
            preheader: "Wenn Sie das nicht waren, verhindern Sie es.".to_owned(),
            title: "Ihre E-Mail-Adresse soll geändert werden".to_owned(),
            before: vec![
                format!("Jemand, der in Ihrem Konto bei {product} angemeldet ist, hat eine andere Adresse angegeben."),
                "Sie gilt, sobald sie bestätigt ist. Wenn Sie das so wollen, müssen Sie hier nichts tun.".to_owned(),
            ],
            facts: vec![("Neue Adresse", plain::email(new_email))],
            button: Some(("Bisherige Adresse behalten", links.undo_email_change(undo_token))),
            after: vec![
                format!(
                    "Wenn Sie das nicht waren, klicken Sie auf den Knopf: Die Adresse bleibt, wie sie ist. Der Link gilt \
                     einmal, innerhalb von {}.",
                    hours(*undo_hours)
                ),
                "Ändern Sie dann Ihr Passwort: Jemand war in Ihrem Konto.".to_owned(),
            ],
        },
        Letter::EmailChanged {
            new_email,
            undo_token,
            undo_hours,
        } => Words {
            subject: format!("Ihre E-Mail-Adresse für {product} wurde geändert"),
            preheader: "Wenn Sie das nicht waren, machen Sie es rückgängig.".to_owned(),
            title: "Ihre E-Mail-Adresse wurde geändert".to_owned(),
            before: vec![format!(
                "Ihr Konto bei {product} hat jetzt eine andere Adresse. Weitere E-Mails gehen dorthin."
            )],
            facts: vec![("Neue Adresse", plain::email(new_email))],
            button: Some(("Änderung rückgängig machen", links.undo_email_change(undo_token))),
            after: vec![format!(
                "Wenn Sie das nicht waren, machen Sie es rückgängig und setzen Sie Ihr Passwort zurück. Der Link gilt \
                 einmal, innerhalb von {}.",
                hours(*undo_hours)
            )],
        },
        Letter::DeletionScheduled { on } => Words {
            subject: format!("Ihr Konto bei {product} wird gelöscht"),
            preheader: format!("Am {}, mit allem, was darin ist.", day(*on)),
            title: "Ihr Konto wird gelöscht".to_owned(),
            before: vec![format!(
                "Wie gewünscht wird Ihr Konto bei {product} am {} gelöscht, mit allem, was darin ist. Ein Abonnement \
                 endet damit.",
                time(*on)
            )],
            after: vec![
                "Haben Sie es sich anders überlegt, oder waren Sie es nicht? Melden Sie sich vorher an, um es zu \
                 behalten."
                    .to_owned(),
            ],
            ..Words::default()
        },
        Letter::DeletionCancelled => Words {
            subject: format!("Ihr Konto bei {product} bleibt"),
            preheader: "Es wird nicht gelöscht.".to_owned(),
            title: "Ihr Konto bleibt".to_owned(),
            before: vec![format!(
                "Ihr Konto bei {product} wird nicht gelöscht. Ein Abonnement, das inzwischen geendet hat, lebt nicht von \
                 selbst wieder auf."
            )],
            after: vec![
                "Wenn nicht Sie es behalten wollten, setzen Sie Ihr Passwort über die Anmeldeseite zurück.".to_owned(),
            ],
            ..Words::default()
        },
        Letter::AccountErased => Words {
            subject: format!("Ihr Konto bei {product} wurde gelöscht"),
            preheader: "Dies ist die letzte E-Mail von uns.".to_owned(),
            title: "Ihr Konto wurde gelöscht".to_owned(),
            before: vec![format!(
                "Ihr Konto bei {product} und alles, was darin war, wurde gelöscht. Dies ist die letzte E-Mail von uns."
            )],
            after: vec!["Danke, dass Sie hier waren.".to_owned()],
            ..Words::default()
        },
        Letter::NewDevice {
            device,
            address,
            country,
            at,
            revoke_token,
        } => Words {
            subject: format!("Neue Anmeldung in Ihrem Konto bei {product}"),
            preheader: "Waren Sie das?".to_owned(),
            title: "Neue Anmeldung in Ihrem Konto".to_owned(),
            before: vec![format!(
                "Jemand hat sich in Ihrem Konto bei {product} angemeldet, von einem Gerät oder Ort, den wir noch nicht \
                 kennen. Wenn Sie das waren, müssen Sie nichts tun."
            )],
            facts: facts(Some(device), *address, *country, *at),
            button: Some(("Das war ich nicht: Sitzung beenden", links.revoke_session(revoke_token))),
            after: vec![
                "Wenn Sie das nicht waren, klicken Sie auf den Knopf und setzen Sie dann Ihr Passwort über die \
                 Anmeldeseite zurück: Jemand kennt es."
                    .to_owned(),
            ],
        },
        Letter::RefreshTokenReused { device, at } => Words {
            subject: format!("Wir haben eine Sitzung bei {product} beendet"),
            preheader: "Jemand könnte eine Kopie davon gehabt haben.".to_owned(),
            title: "Wir haben eine Sitzung beendet".to_owned(),
            before: vec![
                format!(
                    "Ein Schlüssel einer Ihrer Sitzungen bei {product} wurde ein zweites Mal benutzt. Das kommt vor, \
                     wenn jemand eine Kopie davon hat, und hin und wieder, wenn ein Programm einen Fehler macht."
                ),
                "Sicherheitshalber haben wir die Sitzung beendet. Melden Sie sich dort, wo Sie sie brauchen, neu an."
                    .to_owned(),
            ],
            facts: facts(*device, None, None, *at),
            after: vec![
                "Wenn Sie sich das nicht erklären können, prüfen Sie das Gerät auf Programme, die nicht von Ihnen \
                 stammen, und ändern Sie Ihr Passwort."
                    .to_owned(),
            ],
            ..Words::default()
        },
        Letter::LockedOut { address, at } => Words {
            subject: format!("Viele fehlgeschlagene Anmeldungen bei {product}"),
            preheader: "Laufende Sitzungen sind nicht betroffen.".to_owned(),
            title: "Viele fehlgeschlagene Anmeldungen".to_owned(),
            before: vec![
                format!(
                    "Jemand hat für Ihr Konto bei {product} immer wieder falsche Passwörter eingegeben. Weitere \
                     Anmeldungen müssen eine Weile warten, auch Ihre."
                ),
                "Diese Versuche wurden alle abgewiesen, und laufende Sitzungen gehen weiter.".to_owned(),
            ],
            facts: facts(None, *address, None, *at),
            after: vec![
                "Wenn Sie Ihr Passwort vergessen haben, setzen Sie es über die Anmeldeseite zurück: Das beendet auch \
                 das Warten."
                    .to_owned(),
            ],
            ..Words::default()
        },
        Letter::ApiKey {
            did,
            name,
            hint,
            address,
            at,
        } => {
            let named = [
                plain::fact(name).map(|name| ("Name", name)),
                Some(("Schlüssel", shown_key(hint))),
            ];
            Words {
                facts: named
                    .into_iter()
                    .flatten()
                    .chain(facts(None, *address, None, *at))
                    .collect(),
                ..api_key(*did, *at, product)
            }
        }
        Letter::Billing(letter) => de_billing::words(letter, product, links),
    }
}

fn api_key(did: KeyAct, at: Timestamp, product: &str) -> Words {
    let (title, said, preheader) = match did {
        KeyAct::Created => (
            "Neuer API-Schlüssel",
            format!(
                "Für Ihr Konto bei {product} wurde ein API-Schlüssel angelegt. Programme, die ihn haben, können Ihr \
                 Konto benutzen, soweit der Schlüssel reicht."
            ),
            "Waren Sie das?",
        ),
        KeyAct::Changed => (
            "API-Schlüssel geändert",
            format!("Was ein API-Schlüssel Ihres Kontos bei {product} darf, wurde geändert."),
            "Waren Sie das?",
        ),
        KeyAct::Rotated { until } => {
            let old = if until > at {
                format!("Das alte gilt noch bis {}.", time(until))
            } else {
                "Das alte gilt nicht mehr.".to_owned()
            };
            (
                "API-Schlüssel erneuert",
                format!("Ein API-Schlüssel Ihres Kontos bei {product} hat ein neues Geheimnis bekommen. {old}"),
                "Waren Sie das?",
            )
        }
        KeyAct::Deleted => (
            "API-Schlüssel gelöscht",
            format!(
                "Ein API-Schlüssel Ihres Kontos bei {product} wurde gelöscht. Programme, die ihn benutzen, werden nicht \
                 mehr eingelassen."
            ),
            "Programme, die ihn benutzen, werden nicht mehr eingelassen.",
        ),
        KeyAct::DeletedByAdmin => (
            "API-Schlüssel gelöscht",
            format!(
                "Die Betreiber von {product} haben einen API-Schlüssel Ihres Kontos gelöscht. Programme, die ihn \
                 benutzen, werden nicht mehr eingelassen."
            ),
            "Programme, die ihn benutzen, werden nicht mehr eingelassen.",
        ),
    };
    let doubt = "Wenn Sie es nicht waren, setzen Sie Ihr Passwort über die Anmeldeseite zurück und löschen Sie dann die \
                 API-Schlüssel, die Sie nicht kennen: Jemand war in Ihrem Konto.";
    Words {
        subject: format!("{title}: {product}"),
        preheader: preheader.to_owned(),
        title: title.to_owned(),
        before: vec![said],
        after: match did {
            KeyAct::DeletedByAdmin => vec!["Fragen Sie dort nach, wenn Sie den Grund nicht kennen.".to_owned()],
            _ => vec![doubt.to_owned()],
        },
        ..Words::default()
    }
}
