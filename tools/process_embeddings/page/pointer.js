// What mouse and fingers do on the map.

const place = (event) => {
  const box = overlay.getBoundingClientRect();
  return [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
};

function hover(event) {
  const [x, y] = place(event), found = pointAt(current(), x, y, Math.max(10 * ratio, radius(current()) + 3));
  if (found !== state.hover) {
    state.hover = found;
    redraw(false);
  }
  showTip(current(), x / ratio, y / ratio);
}

// Fingers on the map. Two of them move and zoom it; one alone scrolls the page where the map is part of a longer one.
const fingers = new Map();
const narrow = matchMedia("(max-width: 800px)");

function pinchOf() {
  const [[ax, ay], [bx, by]] = [...fingers.values()];
  return { x: (ax + bx) / 2, y: (ay + by) / 2, span: Math.max(1, Math.hypot(ax - bx, ay - by)) };
}

function pinchTo(now) {
  const { view } = current(), before = state.pinch;
  view.x += now.x - before.x;
  view.y += now.y - before.y;
  zoom(current(), now.span / before.span, now.x, now.y);
  state.pinch = now;
  redraw();
}

function liftFinger(event) {
  fingers.delete(event.pointerId);
  if (!fingers.size) state.pinch = null;
}

for (const kind of ["touchstart", "touchmove"]) {
  overlay.addEventListener(kind, (event) => { if (event.touches.length > 1 && event.cancelable) event.preventDefault(); }, { passive: false });
}

overlay.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  overlay.setPointerCapture(event.pointerId);
  const [x, y] = place(event), drawing = state.mode !== "move" || event.shiftKey;
  if (event.pointerType === "touch") fingers.set(event.pointerId, [x, y]);
  if (fingers.size > 1) {
    [state.drag, state.path, state.pinch] = [null, [], fingers.size === 2 ? pinchOf() : state.pinch];
    return;
  }
  const still = event.pointerType === "touch" && narrow.matches ? "still" : "move";
  state.drag = { x, y, startX: x, startY: y, moved: false, kind: drawing ? (state.mode === "lasso" ? "lasso" : "box") : still };
});

overlay.addEventListener("pointermove", (event) => {
  const drag = state.drag, tab = current(), [x, y] = place(event);
  if (fingers.has(event.pointerId)) fingers.set(event.pointerId, [x, y]);
  if (state.pinch) return fingers.size === 2 ? pinchTo(pinchOf()) : undefined;
  if (!drag) return event.pointerType === "touch" ? undefined : hover(event);
  if (!drag.moved && Math.hypot(x - drag.startX, y - drag.startY) < 4 * ratio) return;
  if (!drag.moved) {
    drag.moved = true;
    if (drag.kind === "lasso") state.path = [[drag.startX, drag.startY]];
    state.hover = -1;
    byId("tip").hidden = true;
    overlay.classList.toggle("dragging", drag.kind === "move");
  }
  if (drag.kind === "move") {
    tab.view.x += x - drag.x;
    tab.view.y += y - drag.y;
    redraw();
  } else if (drag.kind !== "still") {
    if (drag.kind === "box") state.path = [[drag.startX, drag.startY], [x, drag.startY], [x, y], [drag.startX, y]];
    else state.path.push([x, y]);
    redraw(false);
  }
  [drag.x, drag.y] = [x, y];
});

overlay.addEventListener("pointerup", (event) => {
  const drag = state.drag, tab = current();
  liftFinger(event);
  state.drag = null;
  overlay.classList.remove("dragging");
  if (!drag) return;
  if (!drag.moved) choose(pointAt(tab, ...place(event), Math.max(10 * ratio, radius(tab) + 3)));
  else if (drag.kind === "box" || drag.kind === "lasso") {
    selectWithin(tab, state.path, event.shiftKey && state.mode !== "move");
    state.path = [];
    showSelection(tab);
    redraw();
  }
});

overlay.addEventListener("pointercancel", (event) => { liftFinger(event); state.drag = null; state.path = []; redraw(false); });
overlay.addEventListener("pointerleave", () => { state.hover = -1; byId("tip").hidden = true; redraw(false); });
overlay.addEventListener("dblclick", (event) => { zoom(current(), 2, ...place(event)); redraw(); });
overlay.addEventListener("wheel", (event) => {
  event.preventDefault();
  const lines = event.deltaMode === 1 ? 33 : 1;
  zoom(current(), Math.exp(-event.deltaY * lines * 0.0016), ...place(event));
  redraw();
}, { passive: false });
