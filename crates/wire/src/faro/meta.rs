//! What a payload says of its page once: SDK, app, user, session, page, browser, view.

use serde::Deserialize;

use super::fields::Fields;
use super::text::{Map, Text};

/// Metadata of a payload.
#[derive(Debug, Default, Deserialize)]
pub struct Meta<'a> {
    #[serde(borrow, default)]
    sdk: Option<Sdk<'a>>,
    #[serde(borrow, default)]
    app: Option<App<'a>>,
    #[serde(borrow, default)]
    user: Option<User<'a>>,
    #[serde(borrow, default)]
    session: Option<Session<'a>>,
    #[serde(borrow, default)]
    page: Option<Page<'a>>,
    #[serde(borrow, default)]
    browser: Option<Browser<'a>>,
    #[serde(borrow, default)]
    view: Option<View<'a>>,
}

#[derive(Debug, Default, Deserialize)]
struct Sdk<'a> {
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(borrow, default)]
    version: Text<'a>,
    #[serde(borrow, default)]
    integrations: Option<Vec<Integration<'a>>>,
}

#[derive(Debug, Default, Deserialize)]
struct Integration<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow, default)]
    version: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
struct App<'a> {
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(borrow, default)]
    namespace: Text<'a>,
    #[serde(borrow, default)]
    release: Text<'a>,
    #[serde(borrow, default)]
    version: Text<'a>,
    #[serde(borrow, default)]
    environment: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
struct User<'a> {
    #[serde(borrow, default)]
    email: Text<'a>,
    #[serde(borrow, default)]
    id: Text<'a>,
    #[serde(borrow, default)]
    username: Text<'a>,
    #[serde(borrow, default)]
    attributes: Map<'a, Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
struct Session<'a> {
    #[serde(borrow, default)]
    id: Text<'a>,
    #[serde(borrow, default)]
    attributes: Map<'a, Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
struct Page<'a> {
    #[serde(borrow, default)]
    id: Text<'a>,
    #[serde(borrow, default)]
    url: Text<'a>,
    #[serde(borrow, default)]
    attributes: Map<'a, Text<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Browser<'a> {
    #[serde(borrow, default)]
    name: Text<'a>,
    #[serde(borrow, default)]
    version: Text<'a>,
    #[serde(borrow, default)]
    os: Text<'a>,
    #[serde(borrow, default)]
    mobile: Text<'a>,
    #[serde(borrow, default)]
    user_agent: Text<'a>,
    #[serde(borrow, default)]
    language: Text<'a>,
    #[serde(borrow, default)]
    viewport_width: Text<'a>,
    #[serde(borrow, default)]
    viewport_height: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
struct View<'a> {
    #[serde(borrow, default)]
    name: Text<'a>,
}

impl<'a> Meta<'a> {
    /// Name of the app.
    pub fn app(&self) -> &str {
        self.app.as_ref().map_or("", |app| &app.name.0)
    }

    /// Where the app runs.
    pub fn environment(&self) -> &str {
        self.app.as_ref().map_or("", |app| &app.environment.0)
    }

    /// Release of the app, by which its source maps are found.
    pub fn release(&self) -> &str {
        self.app.as_ref().map_or("", |app| &app.release.0)
    }

    pub(super) fn write(&self, fields: &mut Fields<'a>) {
        if let Some(sdk) = &self.sdk {
            fields.text("sdk_name", sdk.name.0.clone());
            fields.text("sdk_version", sdk.version.0.clone());
            let integrations = sdk.integrations.iter().flatten();
            let all: Vec<_> = integrations.map(|i| format!("{}:{}", i.name.0, i.version.0)).collect();
            fields.text("sdk_integrations", all.join(","));
        }
        if let Some(app) = &self.app {
            fields.text("app_name", app.name.0.clone());
            fields.text("app_namespace", app.namespace.0.clone());
            fields.text("app_release", app.release.0.clone());
            fields.text("app_version", app.version.0.clone());
            fields.text("app_environment", app.environment.0.clone());
        }
        if let Some(user) = &self.user {
            fields.text("user_email", user.email.0.clone());
            fields.text("user_id", user.id.0.clone());
            fields.text("user_username", user.username.0.clone());
            prefixed(fields, "user_attr_", &user.attributes);
        }
        if let Some(session) = &self.session {
            fields.text("session_id", session.id.0.clone());
            prefixed(fields, "session_attr_", &session.attributes);
        }
        if let Some(page) = &self.page {
            fields.text("page_id", page.id.0.clone());
            fields.text("page_url", page.url.0.clone());
            prefixed(fields, "page_attr_", &page.attributes);
        }
        self.write_browser(fields);
        if let Some(view) = &self.view {
            fields.text("view_name", view.name.0.clone());
        }
    }

    fn write_browser(&self, fields: &mut Fields<'a>) {
        let Some(browser) = &self.browser else {
            // As Alloy, which knows no browser that says nothing of it.
            return fields.text("browser_mobile", "false");
        };
        fields.text("browser_name", browser.name.0.clone());
        fields.text("browser_version", browser.version.0.clone());
        fields.text("browser_os", browser.os.0.clone());
        fields.text("browser_mobile", if browser.mobile.0 == "true" { "true" } else { "false" });
        fields.text("browser_userAgent", browser.user_agent.0.clone());
        fields.text("browser_language", browser.language.0.clone());
        fields.text("browser_viewportWidth", browser.viewport_width.0.clone());
        fields.text("browser_viewportHeight", browser.viewport_height.0.clone());
    }
}

/// Texts of a map, each with something in front of its name.
pub(super) fn prefixed<'a>(fields: &mut Fields<'a>, prefix: &str, map: &Map<'a, Text<'a>>) {
    for (name, value) in &map.0 {
        fields.text(format!("{prefix}{name}"), value.0.clone());
    }
}
