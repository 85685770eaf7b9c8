// Keeps the files of one build in a cache of its own, so that the app starts without a network
// and never mixes two builds. Documents are not its business: they live in IndexedDB.

const CACHE = "notebook-{{build}}";
const FILES = {{files}};

self.addEventListener("install", (event) => {
  // A name with the build in it never means other bytes: the page's own copy will do.
  const cache = (file) => (file.includes("{{build}}") ? "default" : "reload");
  const requests = FILES.map((file) => new Request(file, { cache: cache(file) }));
  event.waitUntil(
    caches.open(CACHE).then((cache) => cache.addAll(requests)).then(() => self.skipWaiting()),
  );
});

self.addEventListener("activate", (event) => {
  event.waitUntil(takeOver());
});

async function takeOver() {
  for (const name of await caches.keys()) {
    if (name.startsWith("notebook-") && name !== CACHE) await caches.delete(name);
  }
  await self.clients.claim();
}

self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET" || url.origin !== self.location.origin) return;
  if (event.request.mode === "navigate") {
    event.respondWith(page(event.request));
  } else if (FILES.includes(url.pathname)) {
    event.respondWith(file(event.request));
  }
});

// A page comes from the network while that answers, so that a new build is seen at once; the copy
// stands in when it does not answer, and for any answer that is not the app.
async function page(request) {
  try {
    const response = await fetch(request);
    if (response.ok) return response;
  } catch {
    // No network: the copy below is what this worker is for.
  }
  return (await cached("/index.html")) ?? Response.error();
}

async function file(request) {
  return (await cached(request)) ?? fetch(request);
}

async function cached(request) {
  const cache = await caches.open(CACHE);
  return cache.match(request, { ignoreSearch: true });
}
