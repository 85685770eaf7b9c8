// Starts the app, and keeps a copy of its files for when there is no network.

import init from "/notebook-{{build}}.js";

if ("serviceWorker" in navigator) {
  navigator.serviceWorker.register("/sw.js").catch((error) => {
    console.warn("Offline start is unavailable:", error);
  });
}

init().catch((error) => {
  const loading = document.getElementById("loading");
  if (loading) loading.textContent = "The notebook could not start: " + error;
  throw error;
});
