"use strict";

// This browser's camera, sent to vidstyle with WebRTC. It shares its scope with page.js, which is loaded first.

const WEBRTC_TIMEOUT = 4000; // milliseconds for WebRTC to connect

let peer = null;
let stream = null;
let relaying = null;

function showWebcamState(state) {
  $("webcam").setAttribute("aria-pressed", String(state === "on"));
  $("webcam").setAttribute("aria-busy", String(state === "starting"));
}

function stopCamera(reason = "") {
  if (!peer && !stream) return;
  if (relaying) { relaying.onclose = null; relaying.close(); }
  if (peer) { peer.onconnectionstatechange = null; peer.close(); }
  if (stream) for (const track of stream.getTracks()) track.stop();
  peer = stream = relaying = null;
  showWebcamState("off");
  if (reason) showMessage(reason);
}

async function startCamera() {
  if (!navigator.mediaDevices) {
    return showMessage("Browsers allow the camera only on pages with https or on localhost: open this page through ssh -L.");
  }
  showWebcamState("starting");
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } } });
  } catch (error) {
    showWebcamState("off");
    return showMessage(`The browser did not allow the camera: ${error.message || error.name}.`);
  }
  try {
    await offer();
  } catch (error) {
    stopCamera(`The camera could not be connected: ${error.message}`);
  }
}

async function offer() {
  const own = peer = new RTCPeerConnection({ iceServers: [] });
  const [track] = stream.getVideoTracks();
  track.onended = () => stopCamera("The camera was disconnected.");
  peer.addTrack(track, stream);
  let connected = false;
  const fallBack = () => { if (peer === own && !connected) relay().catch((error) => stopCamera(`The camera could not be connected: ${error.message}`)); };
  peer.onconnectionstatechange = () => {
    if (own.connectionState === "connected") { connected = true; showWebcamState("on"); }
    if (own.connectionState === "failed") { if (connected) stopCamera("The camera's connection has ended."); else fallBack(); }
    if (own.connectionState === "closed") stopCamera("The camera's connection has ended.");
  };
  await peer.setLocalDescription();
  await iceGathered(own);
  const response = await fetch("camera", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ sdp: own.localDescription.sdp }),
  });
  if (!response.ok) throw new Error(await response.text());
  await own.setRemoteDescription(await response.json());
  setTimeout(fallBack, WEBRTC_TIMEOUT);
}

// WebRTC needs UDP, which an SSH tunnel does not carry: then images are sent over a WebSocket, one at a time.
async function relay() {
  peer.onconnectionstatechange = null;
  peer.close();
  peer = null;
  const started = stream;
  const video = document.createElement("video");
  video.muted = true;
  video.srcObject = stream;
  await video.play();
  if (stream !== started) return; // stopped meanwhile
  const own = relaying = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/relay`);
  const scaled = document.createElement("canvas");
  const next = () => {
    if (relaying !== own) return;
    const scale = Math.min(1, 640 / video.videoWidth);
    scaled.width = Math.round(video.videoWidth * scale);
    scaled.height = Math.round(video.videoHeight * scale);
    scaled.getContext("2d").drawImage(video, 0, 0, scaled.width, scaled.height);
    scaled.toBlob((jpeg) => { if (jpeg && own.readyState === WebSocket.OPEN) own.send(jpeg); }, "image/jpeg", 0.85);
  };
  own.onopen = () => { showWebcamState("on"); video.requestVideoFrameCallback(next); };
  own.onmessage = () => video.requestVideoFrameCallback(next);
  own.onclose = () => stopCamera("The camera's connection has ended.");
}

function iceGathered(connection) {
  return new Promise((done) => {
    const check = () => { if (connection.iceGatheringState === "complete") done(); };
    connection.addEventListener("icegatheringstatechange", check);
    setTimeout(done, 2000);
    check();
  });
}

$("webcam").onclick = () => { if (peer || stream) stopCamera(); else startCamera(); };
addEventListener("pagehide", () => stopCamera());
