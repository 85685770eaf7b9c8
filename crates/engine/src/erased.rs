//! `Storage`, `Transport` and `TabLink` behind `dyn`, so that the engine has no type parameters.

use std::rc::Rc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use leptos_sync_crdt::{DocId, VersionVector};
use leptos_sync_storage::{AppendError, ReadError, Storage, StoredDoc};
use leptos_sync_transport::{
    Closed, ConnectError, FrameReceiver, FrameSender, PostError, TabLink, Transport,
};

use crate::core::{Job, JobResult};

/// What is stored of each document.
type Versions = Vec<(DocId, VersionVector)>;

/// Small values by key.
type SmallValues = Vec<(String, Vec<u8>)>;

/// What the engine asks of a store.
pub(crate) trait AnyStorage {
    fn docs(self: Rc<Self>) -> LocalBoxFuture<'static, Result<Vec<DocId>, ReadError>>;
    fn versions(self: Rc<Self>) -> LocalBoxFuture<'static, Result<Versions, ReadError>>;
    fn load(self: Rc<Self>, doc: DocId) -> LocalBoxFuture<'static, Result<StoredDoc, ReadError>>;
    fn run(self: Rc<Self>, job: Job) -> LocalBoxFuture<'static, JobResult>;
    fn remove(self: Rc<Self>, doc: DocId) -> LocalBoxFuture<'static, Result<(), AppendError>>;
    fn get_meta(
        self: Rc<Self>,
        key: String,
    ) -> LocalBoxFuture<'static, Result<Option<Vec<u8>>, ReadError>>;
    fn put_meta(
        self: Rc<Self>,
        key: String,
        value: Vec<u8>,
    ) -> LocalBoxFuture<'static, Result<(), AppendError>>;
    fn remove_meta(self: Rc<Self>, key: String)
    -> LocalBoxFuture<'static, Result<(), AppendError>>;
    fn list_meta(
        self: Rc<Self>,
        prefix: &'static str,
    ) -> LocalBoxFuture<'static, Result<SmallValues, ReadError>>;
    fn lost(self: Rc<Self>) -> LocalBoxFuture<'static, ()>;
}

impl<S: Storage> AnyStorage for S {
    fn docs(self: Rc<Self>) -> LocalBoxFuture<'static, Result<Vec<DocId>, ReadError>> {
        async move { Storage::docs(&*self).await }.boxed_local()
    }

    fn versions(self: Rc<Self>) -> LocalBoxFuture<'static, Result<Versions, ReadError>> {
        async move { Storage::versions(&*self).await }.boxed_local()
    }

    fn load(self: Rc<Self>, doc: DocId) -> LocalBoxFuture<'static, Result<StoredDoc, ReadError>> {
        async move { Storage::load(&*self, &doc).await }.boxed_local()
    }

    fn run(self: Rc<Self>, job: Job) -> LocalBoxFuture<'static, JobResult> {
        async move {
            match job {
                Job::Append(batch) => JobResult::Append(self.append(batch).await),
                Job::Meta { key, value: Some(value) } => {
                    JobResult::Meta(Storage::put_meta(&*self, &key, &value).await)
                }
                Job::Meta { key, value: None } => {
                    JobResult::Meta(Storage::remove_meta(&*self, &key).await)
                }
                Job::Compact { doc, snapshot } => {
                    let result = self.compact(&doc, snapshot).await;
                    JobResult::Compact(doc, result)
                }
                Job::Replace { doc, snapshot, moved } => {
                    let result = self.replace(&doc, snapshot, moved).await;
                    JobResult::Replace(doc, result)
                }
            }
        }
        .boxed_local()
    }

    fn remove(self: Rc<Self>, doc: DocId) -> LocalBoxFuture<'static, Result<(), AppendError>> {
        async move { Storage::remove(&*self, &doc).await }.boxed_local()
    }

    fn get_meta(
        self: Rc<Self>,
        key: String,
    ) -> LocalBoxFuture<'static, Result<Option<Vec<u8>>, ReadError>> {
        async move { Storage::get_meta(&*self, &key).await }.boxed_local()
    }

    fn put_meta(
        self: Rc<Self>,
        key: String,
        value: Vec<u8>,
    ) -> LocalBoxFuture<'static, Result<(), AppendError>> {
        async move { Storage::put_meta(&*self, &key, &value).await }.boxed_local()
    }

    fn remove_meta(
        self: Rc<Self>,
        key: String,
    ) -> LocalBoxFuture<'static, Result<(), AppendError>> {
        async move { Storage::remove_meta(&*self, &key).await }.boxed_local()
    }

    fn list_meta(
        self: Rc<Self>,
        prefix: &'static str,
    ) -> LocalBoxFuture<'static, Result<SmallValues, ReadError>> {
        async move { Storage::list_meta(&*self, prefix).await }.boxed_local()
    }

    fn lost(self: Rc<Self>) -> LocalBoxFuture<'static, ()> {
        async move { Storage::lost(&*self).await }.boxed_local()
    }
}

/// Both halves of a connection.
pub(crate) type AnyConnection = (Rc<dyn FrameSender>, Box<dyn AnyReceiver>);

/// What the engine asks of a transport.
pub(crate) trait AnyTransport {
    fn connect(self: Rc<Self>) -> LocalBoxFuture<'static, Result<AnyConnection, ConnectError>>;
}

impl<T: Transport> AnyTransport for T {
    fn connect(self: Rc<Self>) -> LocalBoxFuture<'static, Result<AnyConnection, ConnectError>> {
        async move {
            let (sender, receiver) = Transport::connect(&*self).await?;
            let connection: AnyConnection = (Rc::new(sender), Box::new(receiver));
            Ok(connection)
        }
        .boxed_local()
    }
}

/// The receiving half of a connection.
pub(crate) trait AnyReceiver {
    fn recv(&mut self) -> LocalBoxFuture<'_, Result<Bytes, Closed>>;
}

impl<R: FrameReceiver> AnyReceiver for R {
    fn recv(&mut self) -> LocalBoxFuture<'_, Result<Bytes, Closed>> {
        FrameReceiver::recv(self).boxed_local()
    }
}

/// The channel to other tabs.
pub(crate) trait AnyTabs {
    fn post(&self, message: &[u8]) -> Result<(), PostError>;
    fn on_message(&self, callback: Box<dyn FnMut(Bytes)>);
}

impl<T: TabLink> AnyTabs for T {
    fn post(&self, message: &[u8]) -> Result<(), PostError> {
        TabLink::post(self, message)
    }

    fn on_message(&self, callback: Box<dyn FnMut(Bytes)>) {
        TabLink::on_message(self, callback);
    }
}
