//! Fields in views: `{row.votes()}` renders as text and as an attribute, and follows changes.

use leptos::attr::any_attribute::AnyAttribute;
use leptos::attr::{Attribute, AttributeValue};
use leptos::prelude::{AddAnyAttr, Get, Render, RenderEffect, RenderHtml};
use leptos::tachys::hydration::Cursor;
use leptos::tachys::reactive_graph::RenderEffectState;
use leptos::tachys::renderer::types::Element;
use leptos::tachys::ssr::StreamBuilder;
use leptos::tachys::view::{Position, PositionState};
use leptos_sync_engine::FieldValue;

use crate::field::{CounterField, Field};
use crate::text::SyncText;

macro_rules! renders {
    ($name:ty, $value:ty $(, $generic:ident)?) => {
        impl$(<$generic>)? Render for $name
        where
            $value: Render + Send + 'static,
            <$value as Render>::State: 'static,
            $($generic: FieldValue + Clone,)?
        {
            type State = RenderEffectState<<$value as Render>::State>;

            fn build(self) -> Self::State {
                Render::build(move || self.get())
            }

            fn rebuild(self, state: &mut Self::State) {
                Render::rebuild(move || self.get(), state);
            }
        }

        impl$(<$generic>)? AddAnyAttr for $name
        where
            $value: RenderHtml + Send + 'static,
            <$value as Render>::State: 'static,
            $($generic: FieldValue + Clone,)?
        {
            // Text has no attributes to add to.
            type Output<NewAttr: Attribute> = Self;

            fn add_any_attr<NewAttr: Attribute>(self, _: NewAttr) -> Self::Output<NewAttr> {
                self
            }
        }

        impl$(<$generic>)? RenderHtml for $name
        where
            $value: RenderHtml + Send + 'static,
            <$value as Render>::State: 'static,
            $($generic: FieldValue + Clone,)?
        {
            type AsyncOutput = Self;
            type Owned = Self;

            const MIN_LENGTH: usize = 0;

            fn dry_resolve(&mut self) {}

            async fn resolve(self) -> Self {
                self
            }

            fn to_html_with_buf(
                self,
                buf: &mut String,
                position: &mut Position,
                escape: bool,
                mark_branches: bool,
                extra_attrs: Vec<AnyAttribute>,
            ) {
                self.get().to_html_with_buf(buf, position, escape, mark_branches, extra_attrs);
            }

            fn to_html_async_with_buf<const OUT_OF_ORDER: bool>(
                self,
                buf: &mut StreamBuilder,
                position: &mut Position,
                escape: bool,
                mark_branches: bool,
                extra_attrs: Vec<AnyAttribute>,
            ) {
                self.get().to_html_async_with_buf::<OUT_OF_ORDER>(
                    buf,
                    position,
                    escape,
                    mark_branches,
                    extra_attrs,
                );
            }

            fn hydrate<const FROM_SERVER: bool>(
                self,
                cursor: &Cursor,
                position: &PositionState,
            ) -> Self::State {
                RenderHtml::hydrate::<FROM_SERVER>(move || self.get(), cursor, position)
            }

            fn into_owned(self) -> Self {
                self
            }
        }

        impl$(<$generic>)? AttributeValue for $name
        where
            $value: AttributeValue + Send + 'static,
            <$value as AttributeValue>::State: 'static,
            $($generic: FieldValue + Clone,)?
        {
            type AsyncOutput = Self;
            type State = RenderEffect<<$value as AttributeValue>::State>;
            type Cloneable = Self;
            type CloneableOwned = Self;

            fn html_len(&self) -> usize {
                0
            }

            fn to_html(self, key: &str, buf: &mut String) {
                AttributeValue::to_html(self.get(), key, buf);
            }

            fn to_template(_: &str, _: &mut String) {}

            fn hydrate<const FROM_SERVER: bool>(self, key: &str, el: &Element) -> Self::State {
                AttributeValue::hydrate::<FROM_SERVER>(move || self.get(), key, el)
            }

            fn build(self, el: &Element, key: &str) -> Self::State {
                AttributeValue::build(move || self.get(), el, key)
            }

            fn rebuild(self, key: &str, state: &mut Self::State) {
                AttributeValue::rebuild(move || self.get(), key, state);
            }

            fn into_cloneable(self) -> Self {
                self
            }

            fn into_cloneable_owned(self) -> Self {
                self
            }

            fn dry_resolve(&mut self) {}

            async fn resolve(self) -> Self {
                self
            }
        }
    };
}

renders!(Field<T>, T, T);
renders!(CounterField, i64);
renders!(SyncText, String);
