//! The gate: what somebody may do, and using it up. For Anteroom's own routes, and for the operator's own product, whose
//! features are entitlements like any other.

use anteroom_domain::accounts::{Role, User};
use anteroom_domain::billing::{
    Access, CreditAccount, Credits, Entitlement, EntitlementKind, IncludedCredits, METER_CREDITS, Meter, Owner,
    QuotaKey, Window, WindowSpan,
};
use anteroom_domain::{CreditGrantId, Timestamp, UserId};
use anteroom_ports::billing::{Consumed, Consumption, CounterAsk, QuotaLevel};
use anteroom_ports::{Durability, ReadUnit, StoreError, StoreResult, UnitOfWork};
use jiff::SignedDuration;
use serde_json::Value;
use tracing::info;

use super::Billing;
use super::hold_credits::locked_credits;
use super::tell_of_quotas::Limited;
use crate::earlier;

/// How long a consumption is known again.
pub(super) const KNOWN_FOR: SignedDuration = SignedDuration::from_hours(24 * 30);

/// How many are forgotten at a time.
const BATCH: i64 = 500;

/// The longest key of an entitlement, and identifier of a consumption.
const MAX_CHARS: usize = 255;

/// The most of one consumption, so that no sum ever runs over.
const MAX_AMOUNT: i64 = 1_000_000_000_000;

/// What is asked about, or used up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntitlementAsk {
    /// Whose, if not the asker's own; for admins.
    pub user_id: Option<UserId>,
    /// The entitlement's key.
    pub key: String,
    /// How much of it, at least 1; of what is not metered it means nothing.
    pub amount: i64,
}

/// Why something is not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAllowed {
    /// The account is closed, or about to be erased.
    AccountDisabled,
    /// Nothing of this name is granted: neither by the plan nor beside it.
    NotInPlan,
    /// It is granted as "no".
    Off,
    /// A limit has no room for it.
    QuotaExceeded,
    /// There are too few credits.
    InsufficientCredits,
}

impl NotAllowed {
    /// The stable word that is sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccountDisabled => "account_disabled",
            Self::NotInPlan => "feature_not_in_plan",
            Self::Off => "feature_off",
            Self::QuotaExceeded => "quota_exceeded",
            Self::InsufficientCredits => "insufficient_credits",
        }
    }
}

/// How a metered entitlement stands in the window with the least room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// The most in the window, with what may be used beyond what is included; `None` is unlimited.
    pub limit: Option<i64>,
    /// What is used up.
    pub used: i64,
    /// How long the window is.
    pub window: Window,
    /// When the next one begins, unless it is for good.
    pub resets_at: Option<Timestamp>,
}

impl Level {
    /// What is left; `None` is without limit.
    pub fn remaining(&self) -> Option<i64> {
        self.limit.map(|limit| limit.saturating_sub(self.used).max(0))
    }
}

/// What the gate says.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// Whose it is.
    pub user_id: UserId,
    /// The plan in force.
    pub plan: String,
    /// Why not; `None`: it is allowed.
    pub refused: Option<NotAllowed>,
    /// The value, of what is a fixed one.
    pub value: Option<Value>,
    /// How it stands, of what is metered.
    pub level: Option<Level>,
}

/// Why there is no answer, or nothing was used up.
#[derive(Debug, thiserror::Error)]
pub enum EntitlementError {
    /// There is no such account.
    #[error("there is no such user")]
    NoSuchUser,
    /// Whoever asks about others is no admin.
    #[error("this is for admins")]
    Forbidden,
    /// A field was refused.
    #[error("{message}")]
    Refused {
        /// Where it stands in the request, as a JSON pointer.
        pointer: &'static str,
        /// Why.
        message: String,
    },
    /// It is not allowed, and nothing was used up.
    #[error("{}", not_allowed(.key, .checked))]
    NotAllowed {
        /// The entitlement's key.
        key: String,
        /// What the gate says.
        checked: Box<Checked>,
    },
    /// Something else was used up under this identifier.
    #[error("this Idempotency-Key was used for something else")]
    OtherUse,
    /// The store failed: what is not known is not spent.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn not_allowed(key: &str, checked: &Checked) -> String {
    let plan = &checked.plan;
    match (checked.refused, checked.level) {
        (Some(NotAllowed::QuotaExceeded), Some(level)) => {
            let window = match level.window {
                Window::Always => String::new(),
                window => format!(" in this {}", window.as_str()),
            };
            format!("the plan `{plan}` has no room for that much of `{key}`{window}")
        }
        (Some(NotAllowed::InsufficientCredits), Some(level)) => {
            format!("too few credits: {} are left", level.remaining().unwrap_or_default())
        }
        (Some(NotAllowed::AccountDisabled), _) => "the account is closed".to_owned(),
        _ => format!("the plan `{plan}` does not have `{key}`"),
    }
}

fn refused(pointer: &'static str, message: impl Into<String>) -> EntitlementError {
    EntitlementError::Refused {
        pointer,
        message: message.into(),
    }
}

/// A counter of the operator's own.
pub(super) fn counter(key: &str, window: Window) -> String {
    format!("entitlement/{}/{key}", window.as_str())
}

/// What decides about somebody: who it is, and what they hold.
struct Subject {
    user_id: UserId,
    owner: Owner,
    made: Timestamp,
    /// Whether the account is closed, or about to be erased: then nothing is allowed.
    closed: bool,
    access: Access,
}

impl Subject {
    fn granted<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a Entitlement> {
        let all = self.access.plan.entitlements.iter();
        all.filter(move |entitlement| entitlement.key == key)
    }

    /// How an entitlement stands in a window at `now`, of which so much is used up.
    fn level(&self, (limit, window): (Option<i64>, Window), used: i64, now: Timestamp) -> Level {
        Level {
            limit,
            used,
            window,
            resets_at: self.span(window, now).resets_at(),
        }
    }

    /// What the plan includes of credits.
    fn included(&self, now: Timestamp) -> Option<IncludedCredits> {
        self.access.plan.credits(now, self.access.anchor(self.made))
    }

    fn span(&self, window: Window, now: Timestamp) -> WindowSpan {
        window.at(now, self.access.anchor(self.made))
    }

    /// How credits stand: how many there are, of which calls that run hold some.
    fn credits(&self, account: &CreditAccount, window: Window, now: Timestamp) -> Level {
        let there = account.unspent(now).max(Credits::ZERO).whole_down();
        let left = account.available(now).whole_down();
        self.level((Some(there), window), there - left, now)
    }

    fn says(&self, refused: Option<NotAllowed>) -> Checked {
        Checked {
            user_id: self.user_id,
            plan: self.access.plan.key.clone(),
            refused,
            value: None,
            level: None,
        }
    }

    /// Nothing was used up, and why.
    fn refuses(&self, ask: &EntitlementAsk, reason: NotAllowed, level: Option<Level>) -> EntitlementError {
        let checked = Checked {
            level,
            ..self.says(Some(reason))
        };
        info!(event = "entitlement.denied", user_id = %self.user_id, key = %ask.key, amount = ask.amount, plan = %checked.plan, reason = reason.as_str());
        EntitlementError::NotAllowed {
            key: ask.key.clone(),
            checked: Box::new(checked),
        }
    }
}

impl Billing {
    /// Says whether something is allowed now, without using it up. What nobody has heard of is not.
    pub async fn check_entitlement(&self, by: &User, ask: &EntitlementAsk) -> Result<Checked, EntitlementError> {
        check_ask(ask)?;
        let now = self.clock.now();
        let mut reads = self.store.read().await?;
        let subject = self.subject(&mut *reads, by, ask.user_id, now).await?;
        Ok(self.checked(&mut *reads, &subject, &ask.key, ask.amount, now).await?)
    }

    /// Uses up an amount of something metered: in all of its windows or in none, never over a limit. With an identifier
    /// (of the caller's, for a month) the same again counts once.
    pub async fn consume_entitlement(
        &self,
        by: &User,
        ask: &EntitlementAsk,
        id: Option<String>,
    ) -> Result<Checked, EntitlementError> {
        check_ask(ask)?;
        if id.as_ref().is_some_and(|id| id.chars().count() > MAX_CHARS) {
            return Err(refused("/id", format!("at most {MAX_CHARS} characters")));
        }
        if Meter::parse(&ask.key).is_some() {
            let message = format!("`{}` is counted by Anteroom itself, with each call to a model", ask.key);
            return Err(refused("/key", message));
        }
        let now = self.clock.now();
        let mut unit = self.store.begin(Durability::Full).await?;
        let subject = self.subject(&mut *unit, by, ask.user_id, now).await?;
        if subject.closed {
            return Err(subject.refuses(ask, NotAllowed::AccountDisabled, None));
        }
        if subject.granted(&ask.key).next().is_none() {
            return Err(subject.refuses(ask, NotAllowed::NotInPlan, None));
        }
        if ask.key == METER_CREDITS && subject.access.plan.takes_credits() {
            return self.consume_credits(unit, &subject, ask, id, now).await;
        }
        // With what may be used beyond a limit, for money.
        let windows: Vec<_> = subject.granted(&ask.key).filter_map(Entitlement::most).collect();
        if windows.is_empty() {
            let message = format!("`{}` is not metered: check it, there is nothing to use up", ask.key);
            return Err(refused("/key", message));
        }
        let consumption = Consumption {
            owner: subject.owner,
            id: id.unwrap_or_else(|| self.ids.uuid().to_string()),
            key: ask.key.clone(),
            plan: subject.access.plan.key.clone(),
            amount: ask.amount,
            counters: windows
                .iter()
                .map(|(limit, window)| CounterAsk {
                    counter: counter(&ask.key, *window),
                    window_start: subject.span(*window, now).start,
                    limit: *limit,
                })
                .collect(),
            at: now,
        };
        match unit.consume(&consumption).await? {
            Consumed::OtherUse => Err(EntitlementError::OtherUse),
            Consumed::Denied { counter, used } => {
                let level = windows.get(counter).map(|window| subject.level(*window, used, now));
                Err(subject.refuses(ask, NotAllowed::QuotaExceeded, level))
            }
            consumed @ (Consumed::Counted | Consumed::Repeated) => {
                if consumed == Consumed::Counted {
                    self.was_used(&mut *unit, &subject, &ask.key, now).await?;
                }
                // How it stands now; whether another of this size would fit is not what was asked.
                let checked = self.checked(&mut *unit, &subject, &ask.key, 0, now).await?;
                unit.commit().await?;
                Ok(checked)
            }
        }
    }

    /// What follows from having used something up, in the same unit of work: its holder is told of limits, and the provider
    /// of what went beyond them.
    async fn was_used(
        &self,
        unit: &mut dyn UnitOfWork,
        subject: &Subject,
        key: &str,
        now: Timestamp,
    ) -> StoreResult<()> {
        let anchor = subject.access.anchor(subject.made);
        let granted = subject.granted(key);
        let limited: Vec<_> = granted.filter_map(|it| Limited::of(it, now, anchor)).collect();
        self.tell_of_use(unit, subject.owner, key, &limited, now).await?;
        if limited.iter().any(|limited| limited.beyond.is_some()) {
            let access = (&subject.access, anchor);
            self.account_for_overage(unit, subject.owner, access, Some(key), now)
                .await?;
        }
        Ok(())
    }

    /// Gives an amount back of what counts for good: for admins, since whoever could do it for themselves would have no limit.
    /// With an identifier (of the caller's, for a month) the same again counts once.
    pub async fn release_entitlement(
        &self,
        by: &User,
        ask: &EntitlementAsk,
        id: Option<String>,
    ) -> Result<Checked, EntitlementError> {
        check_ask(ask)?;
        let now = self.clock.now();
        let mut unit = self.store.begin(Durability::Full).await?;
        admin_still(&mut *unit, by).await?;
        // Also what the plan no longer has, and of a closed account: whoever leaves gives back what they had.
        let subject = self.subject(&mut *unit, by, ask.user_id, now).await?;
        let mut windows = subject.granted(&ask.key).filter_map(Entitlement::metered);
        if windows.any(|(_, window)| window != Window::Always) || Meter::parse(&ask.key).is_some() {
            let message = format!("`{}` begins anew by itself: there is nothing to give back", ask.key);
            return Err(refused("/key", message));
        }
        let consumption = Consumption {
            owner: subject.owner,
            id: id.unwrap_or_else(|| self.ids.uuid().to_string()),
            key: ask.key.clone(),
            plan: subject.access.plan.key.clone(),
            amount: -ask.amount,
            counters: vec![CounterAsk {
                counter: counter(&ask.key, Window::Always),
                window_start: subject.span(Window::Always, now).start,
                limit: None,
            }],
            at: now,
        };
        match unit.consume(&consumption).await? {
            Consumed::OtherUse => Err(EntitlementError::OtherUse),
            Consumed::Denied { used, .. } => {
                let message = format!("{used} of `{}` are in use", ask.key);
                Err(refused("/amount", message))
            }
            Consumed::Counted | Consumed::Repeated => {
                let checked = self.checked(&mut *unit, &subject, &ask.key, 0, now).await?;
                unit.commit().await?;
                Ok(checked)
            }
        }
    }

    /// Takes credits for something of the operator's own.
    async fn consume_credits(
        &self,
        mut unit: Box<dyn UnitOfWork>,
        subject: &Subject,
        ask: &EntitlementAsk,
        id: Option<String>,
        now: Timestamp,
    ) -> Result<Checked, EntitlementError> {
        let amount = Credits::whole(ask.amount);
        let mut account = locked_credits(&mut *unit, subject.owner).await?;
        if let Some(included) = subject.included(now) {
            self.open_window(&mut *unit, &mut account, included, now).await?;
        }
        let counter = CreditAccount::counter(subject.owner);
        let consumption = Consumption {
            owner: subject.owner,
            id: id.unwrap_or_else(|| self.ids.uuid().to_string()),
            key: ask.key.clone(),
            plan: subject.access.plan.key.clone(),
            amount: amount.0,
            counters: vec![CounterAsk {
                counter: counter.meter.to_owned(),
                window_start: counter.window_start,
                limit: Some(account.limit(now).0),
            }],
            at: now,
        };
        let consumed = unit.consume(&consumption).await?;
        let short = matches!(consumed, Consumed::Denied { .. })
            || consumed == Consumed::Counted && account.available(now) < amount;
        if short {
            let window = subject.granted(&ask.key).find_map(Entitlement::metered);
            let level = window.map(|(_, window)| subject.credits(&account, window, now));
            return Err(subject.refuses(ask, NotAllowed::InsufficientCredits, level));
        }
        match consumed {
            Consumed::OtherUse => return Err(EntitlementError::OtherUse),
            Consumed::Counted => account.spend(amount, now, &consumption.id, now),
            Consumed::Repeated | Consumed::Denied { .. } => {}
        }
        unit.save_credits(&account).await?;
        let checked = self.checked(&mut *unit, subject, &ask.key, 0, now).await?;
        unit.commit().await?;
        Ok(checked)
    }

    /// Somebody's credits with those that the plan includes, as they would be if they were needed now.
    async fn credits_of<R: ReadUnit + ?Sized>(
        &self,
        reads: &mut R,
        subject: &Subject,
        now: Timestamp,
    ) -> StoreResult<CreditAccount> {
        let mut account = reads.credit_account(subject.owner).await?;
        if let Some(included) = subject.included(now).filter(|included| !account.opened(*included)) {
            let ids = [(); 2].map(|()| CreditGrantId(self.ids.uuid()));
            account.open_window(included, Vec::new(), ids, now);
        }
        Ok(account)
    }

    /// Forgets what was used up long ago: a job. It counts on.
    pub async fn purge_consumptions(&self) -> StoreResult<usize> {
        let before = earlier(self.clock.now(), KNOWN_FOR);
        let mut unit = self.store.begin(Durability::Full).await?;
        let forgotten = unit.purge_consumptions(before, BATCH).await?;
        unit.commit().await?;
        Ok(forgotten)
    }

    /// Whom it is about. Others are for admins, as the store has them now.
    async fn subject<R: ReadUnit + ?Sized>(
        &self,
        reads: &mut R,
        by: &User,
        other: Option<UserId>,
        now: Timestamp,
    ) -> Result<Subject, EntitlementError> {
        let user = match other.filter(|other| *other != by.id) {
            None => by.clone(),
            Some(other) => {
                admin_still(reads, by).await?;
                reads.user(other).await?.ok_or(EntitlementError::NoSuchUser)?
            }
        };
        let owner = Owner::account(user.id);
        let holdings = reads.holdings_of(owner, now).await?;
        Ok(Subject {
            user_id: user.id,
            owner,
            made: user.created_at,
            closed: !user.usable() || user.delete_after.is_some(),
            access: self.access_at(&holdings, now),
        })
    }

    async fn checked<R: ReadUnit + ?Sized>(
        &self,
        reads: &mut R,
        subject: &Subject,
        key: &str,
        amount: i64,
        now: Timestamp,
    ) -> StoreResult<Checked> {
        if subject.closed {
            return Ok(subject.says(Some(NotAllowed::AccountDisabled)));
        }
        let mut checked = subject.says(Some(NotAllowed::NotInPlan));
        for entitlement in subject.granted(key) {
            match &entitlement.kind {
                EntitlementKind::Boolean(on) => checked.refused = (!on).then_some(NotAllowed::Off),
                EntitlementKind::Static(value) => {
                    checked.refused = None;
                    checked.value = Some(value.clone());
                }
                &EntitlementKind::Metered {
                    limit: Some(_), window, ..
                } if key == METER_CREDITS => {
                    let account = self.credits_of(reads, subject, now).await?;
                    checked.refused = None;
                    if account.available(now) < Credits::whole(amount) {
                        checked.refused = Some(NotAllowed::InsufficientCredits);
                    }
                    checked.level = Some(subject.credits(&account, window, now));
                }
                EntitlementKind::Metered { .. } => {
                    let Some((limit, window)) = entitlement.most() else {
                        continue;
                    };
                    let start = subject.span(window, now).start;
                    let used = used_of(reads, subject.owner, key, window, start).await?;
                    let level = subject.level((limit, window), used, now);
                    // Of several windows the one with the least room.
                    let room = |level: &Level| level.remaining().unwrap_or(i64::MAX);
                    if checked.level.is_none_or(|known| room(&level) < room(&known)) {
                        let fits = room(&level) >= amount;
                        checked.refused = (!fits).then_some(NotAllowed::QuotaExceeded);
                        checked.level = Some(level);
                    }
                }
            }
        }
        Ok(checked)
    }
}

/// Refuses who is no admin, as the store has them now.
async fn admin_still<R: ReadUnit + ?Sized>(reads: &mut R, by: &User) -> Result<(), EntitlementError> {
    let asker = reads.user(by.id).await?;
    if asker.is_some_and(|asker| asker.role == Role::Admin && asker.usable()) {
        return Ok(());
    }
    Err(EntitlementError::Forbidden)
}

/// What is used up of an entitlement in a window, calls that run included.
pub(super) async fn used_of<R: ReadUnit + ?Sized>(
    reads: &mut R,
    owner: Owner,
    key: &str,
    window: Window,
    window_start: Timestamp,
) -> StoreResult<i64> {
    let level = standing_of(reads, owner, key, window, window_start).await?;
    Ok(level.used.saturating_add(level.reserved))
}

/// What stands on the counter of an entitlement in a window.
pub(super) async fn standing_of<R: ReadUnit + ?Sized>(
    reads: &mut R,
    owner: Owner,
    key: &str,
    window: Window,
    window_start: Timestamp,
) -> StoreResult<QuotaLevel> {
    let Some(meter) = Meter::parse(key) else {
        let used = reads.counter_level(owner, &counter(key, window), window_start).await?;
        return Ok(QuotaLevel { used, reserved: 0 });
    };
    let key = QuotaKey {
        owner,
        meter: meter.counter(window),
        window_start,
    };
    reads.quota_level(&key).await
}

fn check_ask(ask: &EntitlementAsk) -> Result<(), EntitlementError> {
    let length = ask.key.chars().count();
    if length == 0 || length > MAX_CHARS {
        return Err(refused("/key", format!("1 to {MAX_CHARS} characters")));
    }
    if !(1..=MAX_AMOUNT).contains(&ask.amount) {
        return Err(refused("/amount", format!("1 to {MAX_AMOUNT}")));
    }
    Ok(())
}
