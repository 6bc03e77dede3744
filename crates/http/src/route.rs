//! What a route is: a method, a path, who may call, and which limit counts it.

use actix_web::dev::HttpServiceFactory;
use actix_web::http::{Method, header};
use actix_web::{FromRequest, Handler, HttpRequest, Responder, guard, web};
use anteroom_domain::access::Scope;
use anteroom_services::protection::Act;
use futures_util::future::LocalBoxFuture;

use crate::Api;
use crate::body::Body;
use crate::caller::{Caller, Who};
use crate::problem::Problem;

/// One route. It cannot be built from a handler whose first parameter does not say who may call.
pub struct Route {
    /// The method.
    pub method: Method,
    /// The path, with `{names}`.
    pub path: &'static str,
    /// Who may call, taken from the handler's signature.
    pub who: Who,
    /// Which limit counts it.
    pub act: Act,
    /// What an API key must be good for to be let in; without one it is not. Named in the table.
    pub scope: Option<Scope>,
    /// Whether its handler can serve an API key at all, taken from its signature.
    pub takes_keys: bool,
    /// Whether its handler reads a body.
    pub reads_body: bool,
    handler: actix_web::Route,
}

/// Handler arguments that begin with a [`Caller`].
pub trait CallerFirst: FromRequest {
    /// Who that is.
    const WHO: Who;
    /// Whether it may be an API key.
    const TAKES_KEYS: bool;
    /// Whether the handler reads a body.
    const READS_BODY: bool;
}

/// What a handler may take after its caller.
pub trait Part: FromRequest {
    /// Whether it is the body.
    const IS_BODY: bool;
}

impl Part for Body {
    const IS_BODY: bool = true;
}
impl Part for web::Data<Api> {
    const IS_BODY: bool = false;
}
impl Part for HttpRequest {
    const IS_BODY: bool = false;
}

macro_rules! caller_first {
    ($($rest:ident)*) => {
        impl<C: Caller + 'static, $($rest: Part + 'static),*> CallerFirst for (C, $($rest,)*) {
            const WHO: Who = C::WHO;
            const TAKES_KEYS: bool = C::TAKES_KEYS;
            const READS_BODY: bool = false $(|| $rest::IS_BODY)*;
        }
    };
}
caller_first!();
caller_first!(A);
caller_first!(A B);
caller_first!(A B D);
caller_first!(A B D E);

/// Builds a route.
pub fn route<F, Args>(method: Method, path: &'static str, handler: F) -> Route
where
    F: Handler<Args>,
    Args: CallerFirst + 'static,
    F::Output: Responder + 'static,
{
    // Of a GET a body means nothing (RFC 9110 section 9.3.1), and what is not the API's reads forms.
    let refuses = !Args::READS_BODY && method != Method::GET && path.starts_with("/v1/");
    let handler = if refuses {
        web::route().to(Bodiless(handler))
    } else {
        web::route().to(handler)
    };
    Route {
        method,
        path,
        who: Args::WHO,
        act: Act::Default,
        scope: None,
        takes_keys: Args::TAKES_KEYS,
        reads_body: Args::READS_BODY,
        handler,
    }
}

/// A handler that reads no body. Whoever sends one expects something of it, so it is refused rather than ignored; an
/// empty object is let go, since many clients send one with every POST.
#[derive(Clone)]
struct Bodiless<F>(F);

impl<F, Args> Handler<(Args, Body)> for Bodiless<F>
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
{
    type Output = Result<F::Output, Problem>;
    type Future = LocalBoxFuture<'static, Self::Output>;

    fn call(&self, (args, body): (Args, Body)) -> Self::Future {
        let handler = self.0.clone();
        Box::pin(async move {
            body.nothing().await?;
            Ok(handler.call(args).await)
        })
    }
}

impl Route {
    /// Counts the route under a limit of its own.
    #[must_use]
    pub fn limit(mut self, act: Act) -> Self {
        self.act = act;
        self
    }

    /// Lets API keys in that have this scope.
    #[must_use]
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = Some(scope);
        self
    }
}

/// The resource that a request's path matched, for whoever looks at the request: the [`Caller`] extractors want to know
/// which limit counts it, the log its path. Asking actix for the pattern would match the path once more.
pub(crate) struct Matched {
    /// The path, with `{names}`.
    pub(crate) path: &'static str,
    methods: Vec<(Method, Act, Option<Scope>)>,
}

impl Matched {
    /// Which limit counts a request.
    pub(crate) fn act(&self, method: &Method) -> Act {
        self.of(method).map_or(Act::Default, |(act, _)| act)
    }

    /// What an API key must be good for.
    pub(crate) fn scope(&self, method: &Method) -> Option<Scope> {
        self.of(method)?.1
    }

    fn of(&self, method: &Method) -> Option<(Act, Option<Scope>)> {
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        let found = self.methods.iter().find(|(known, ..)| known == method);
        found.map(|(_, act, scope)| (*act, *scope))
    }
}

/// Turns the table into services: one resource per path, which answers 405 with `Allow` for other methods. A GET
/// route answers HEAD too. Paths without parameters come first: actix-web tries one resource after the other, and those
/// that have parameters by regular expressions.
pub fn mount(routes: Vec<Route>) -> Vec<impl HttpServiceFactory> {
    let mut paths: Vec<(&'static str, Vec<Route>)> = Vec::new();
    for route in routes {
        match paths.iter_mut().find(|(path, _)| *path == route.path) {
            Some((_, same)) => same.push(route),
            None => paths.push((route.path, vec![route])),
        }
    }
    paths.sort_by_key(|(path, _)| path.contains('{'));
    paths.into_iter().map(|(path, routes)| resource(path, routes)).collect()
}

fn resource(path: &'static str, routes: Vec<Route>) -> impl HttpServiceFactory {
    let mut methods: Vec<Method> = routes.iter().map(|r| r.method.clone()).collect();
    if methods.contains(&Method::GET) {
        methods.push(Method::HEAD);
    }
    let allow = methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
    let of_methods = routes.iter().map(|r| (r.method.clone(), r.act, r.scope)).collect();
    let mut resource = web::resource(path).app_data(Matched {
        path,
        methods: of_methods,
    });
    for route in routes {
        let method = route.method.clone();
        let handler = if method == Method::GET {
            route.handler.guard(guard::Any(guard::Get()).or(guard::Head()))
        } else {
            route.handler.guard(guard::Method(method))
        };
        resource = resource.route(handler);
    }
    resource.default_service(web::to(move || {
        let detail = format!("this path answers {allow}");
        let problem = Problem::new(
            actix_web::http::StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            detail,
        );
        let problem = problem.header(header::ALLOW, &allow);
        async move { Err::<actix_web::HttpResponse, Problem>(problem) }
    }))
}
