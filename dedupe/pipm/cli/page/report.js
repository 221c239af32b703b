"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "class") element.className = value;
      else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  };

  // Words ------------------------------------------------------------------------------------------
  const size = (bytes) => {
    if (Math.abs(bytes) < 1024) return `${bytes} B`;
    let value = bytes, unit = "";
    for (unit of ["KiB", "MiB", "GiB", "TiB"]) {
      value /= 1024;
      if (Math.abs(value) < 1023.95) break;
    }
    return `${value.toFixed(1)} ${unit}`;
  };
  const about = (bytes, one) => `${one.about ? "~" : ""}${size(bytes)}`;
  const count = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, "\u202f");
  const counted = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
  const age = (when) => {
    if (!when) return "\u2013";
    const seconds = data.generated - when;
    for (const [unit, length] of [["year", 31536000], ["month", 2592000], ["day", 86400], ["hour", 3600], ["minute", 60]])
      if (seconds >= length) return `${counted(Math.floor(seconds / length), unit)} ago`;
    return "just now";
  };

  // What is known ----------------------------------------------------------------------------------
  const entries = data.entries.map(([name, version, bytes, condemned, elsewhere = 0]) => (
    { name, version, bytes, condemned: Boolean(condemned), users: elsewhere }));
  const environments = data.environments;
  for (const one of environments) for (const index of one.entries) entries[index].users += 1;
  const distributions = [...entries.reduce((found, entry) => {
    if (!found.has(entry.name)) found.set(entry.name, { name: entry.name, entries: [], bytes: 0, users: 0 });
    const one = found.get(entry.name);
    one.entries.push(entry);
    one.bytes += entry.bytes;
    return found;
  }, new Map()).values()];
  for (const one of distributions) one.users = one.entries.reduce((sum, entry) => sum + entry.users, 0);

  const kindOf = (entry) => (entry.users > 1 ? "shared" : entry.users === 1 ? "alone" : "unused");
  const leaf = (label, value, kind, lines) => ({ label, value, kind, lines });
  const insideEnvironment = (one) => [
    ...one.entries.map((index) => entries[index]).map((entry) => leaf(
      `${entry.name} ${entry.version}`, entry.bytes, kindOf(entry),
      [entry.users > 1 ? `shared by ${counted(entry.users, "environment")}` : "in the store for this environment alone"])),
    ...one.parts.map(([label, bytes]) => leaf(label, bytes, "own", ["its own copy"])),
    leaf(one.parts.length ? "bytecode, folders, scripts" : "its own files", one.rest, "own", ["goes with the environment"]),
  ].filter((node) => node.value > 0);
  // Most paths end with it: in a narrow box the rest tells more.
  const withoutVenv = (path) => path.replace(/(?<=.)\/\.venv$/, "");
  const environmentNode = (one, alone) => {
    const lines = [`${one.kind || "environment"}, ${one.state}, Python ${one.python}, ${counted(one.distributions, "distribution")}`,
      `deleting it frees ${about(one.exclusive, one)}`];
    if (one.adopting > 0) lines.push(`adopting it frees about ${size(one.adopting)}`);
    const node = { label: one.path, short: withoutVenv(one.path), lines, one, kind: one.state === "own copy" ? "own" : "shared" };
    node.children = () => (node.made ??= insideEnvironment(one).filter((child) => !alone || child.kind === "own"));
    node.value = alone ? one.exclusive : node.children().reduce((sum, child) => sum + child.value, 0);
    return node;
  };
  const distributionNode = (one) => {
    const node = {
      label: one.name, value: one.bytes,
      kind: one.users > 1 ? "shared" : one.users ? "alone" : "unused",
      lines: [`${counted(one.entries.length, "version")}, used by ${counted(one.users, "environment")}`],
    };
    node.children = () => (node.made ??= one.entries.map((entry) => leaf(
      `${entry.name} ${entry.version}`, entry.bytes, kindOf(entry),
      [entry.users ? `used by ${counted(entry.users, "environment")}`
        : entry.condemned ? "used by nothing: `pipm gc` removes it" : "used by nothing"])));
    return node;
  };
  // A thousand environments are seen by the folders that they lie in: as deep as few folders take it.
  const MOST_FOLDERS = 40;
  const folderNode = (label, children, alone) => {
    const nodes = children.map((one) => ({ ...environmentNode(one, alone), short: withoutVenv(one.path.slice(label.length)) }));
    const freed = children.reduce((sum, one) => sum + one.exclusive, 0);
    return { label, folder: true, kind: "shared", children: () => nodes,
      lines: [counted(children.length, "environment"), `deleting them frees at least ${size(freed)}`],
      value: nodes.reduce((sum, node) => sum + node.value, 0) };
  };
  const byFolder = (shown, alone) => {
    const deepest = Math.max(0, ...shown.map((one) => one.path.split("/").length - 1));
    let best = new Map();
    for (let depth = 1; depth < deepest; depth += 1) {
      const found = Map.groupBy(shown, (one) => one.path.split("/").slice(0, depth).join("/"));
      if (found.size > MOST_FOLDERS) break;
      best = found;
    }
    return best.size > 1 ? [...best].map(([path, inside]) => (
      inside.length > 1 ? folderNode(`${path}/`, inside, alone) : environmentNode(inside[0], alone)))
      : shown.map((one) => environmentNode(one, alone));
  };
  const shownEnvironments = (alone) => {
    const shown = environments.filter((one) => (alone ? one.exclusive : one.on_disk) > 0);
    return shown.length > MOST_FOLDERS ? byFolder(shown, alone) : shown.map((one) => environmentNode(one, alone));
  };
  const view = (label, area, nodes) => {
    const made = { label, area, children: () => (made.made ??= nodes()) };
    return made;
  };
  const views = {
    environments: view("All environments",
      "Area is bytes on disk; each environment shows what it shares, too.", () => shownEnvironments(false)),
    exclusive: view("All environments",
      "Area is what deleting an environment frees: what it shares is not in it.", () => shownEnvironments(true)),
    distributions: view("All distributions",
      "Area is bytes on disk in the store.", () => distributions.map(distributionNode)),
  };

  // The map: squarified (Bruls, Huizing, van Wijk) ------------------------------------------------
  const canvas = $("map"), context = canvas.getContext("2d"), tip = $("tip");
  let trail = [views.environments], boxes = [], at = -1;

  const squarify = (nodes, x, y, width, height) => {
    const total = nodes.reduce((sum, node) => sum + node.value, 0);
    const found = [];
    if (!total || width <= 0 || height <= 0) return found;
    const scale = (width * height) / total;
    const sorted = nodes.filter((node) => node.value > 0).sort((a, b) => b.value - a.value);
    let start = 0;
    while (start < sorted.length && width > 0.5 && height > 0.5) {
      const side = Math.min(width, height);
      let end = start, sum = 0, worst = Infinity;
      while (end < sorted.length) {
        const next = sum + sorted[end].value * scale;
        const large = sorted[start].value * scale, small = sorted[end].value * scale;
        const ratio = Math.max((side * side * large) / (next * next), (next * next) / (side * side * small));
        if (ratio > worst) break;
        worst = ratio; sum = next; end += 1;
      }
      const depth = sum / side;
      let offset = 0;
      for (let index = start; index < end; index += 1) {
        const length = (sorted[index].value * scale) / depth;
        found.push(width >= height
          ? { node: sorted[index], x, y: y + offset, width: depth, height: length }
          : { node: sorted[index], x: x + offset, y, width: length, height: depth });
        offset += length;
      }
      if (width >= height) { x += depth; width -= depth; } else { y += depth; height -= depth; }
      start = end;
    }
    return found;
  };

  const colours = () => {
    const style = getComputedStyle(document.documentElement);
    return Object.fromEntries(["shared", "alone", "own", "unused", "label", "edge", "focus", "text", "card", "quiet"]
      .map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  };
  const TITLE = 19;
  const write = (text, x, y, width) => {
    if (width < 30) return;
    let shown = text;
    const room = Math.floor(width / 6.6);
    if (shown.length > room) shown = shown.includes("/") ? `…${shown.slice(1 - room)}` : `${shown.slice(0, room - 1)}…`;
    context.fillText(shown, x, y, width);
  };
  // A name, then its size and what it is, as far as there is room.
  const writeLines = ({ node }, x, y, width, height) => {
    const lines = [node.short ?? node.label, size(node.value), ...node.lines];
    lines.slice(0, Math.max(1, Math.floor(height / 16))).forEach((line, index) => {
      if (index < 2 || line.length * 6.6 <= width) write(line, x, y + 16 * index, width);
    });
  };
  const writeTitle = (node, x, y, width) => {
    const title = [node.short ?? node.label, size(node.value), ...node.lines];
    while (title.length > 1 && title.join(", ").length * 6.6 > width) title.pop();
    write(title.join(", "), x, y, width);
  };
  const draw = () => {
    const scale = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = "12.5px system-ui, -apple-system, 'DejaVu Sans', sans-serif";
    context.textBaseline = "top";
    const palette = colours();
    boxes = squarify(trail.at(-1).children(), 0, 0, width, height);
    for (const box of boxes) drawBox(box, palette);
    if (!boxes.length) {
      context.fillStyle = palette.quiet;
      context.fillText("Nothing to show", 16, 16);
    }
    if (at >= boxes.length) at = -1;
    mark(palette);
    const whole = trail.at(-1);
    canvas.setAttribute("aria-label", `Map of ${whole.label}: ${counted(boxes.length, "area")}`);
  };
  const drawBox = (box, palette) => {
    const { node, x, y, width, height } = box;
    context.fillStyle = palette[node.kind];
    context.fillRect(x, y, Math.max(width - 1, 0.5), Math.max(height - 1, 0.5));
    const nested = (node.one || node.folder) && width > 46 && height > TITLE + 16;
    if (nested) {
      context.fillStyle = palette.card;
      context.fillRect(x, y, width - 1, height - 1);
      for (const inner of squarify(node.children(), x + 2, y + TITLE, width - 5, height - TITLE - 3)) {
        if (inner.node.one) splitBox(inner, palette);
        else {
          context.fillStyle = palette[inner.node.kind];
          context.fillRect(inner.x, inner.y, Math.max(inner.width - 1, 0.5), Math.max(inner.height - 1, 0.5));
        }
        if (inner.width > 58 && inner.height > 18) {
          context.fillStyle = palette.label;
          writeLines(inner, inner.x + 4, inner.y + 4, inner.width - 8, inner.height - 4);
        }
      }
    } else if (node.one) {
      splitBox(box, palette);
    }
    if (width > 34 && height > 17) {
      context.fillStyle = nested ? palette.text : palette.label;
      if (nested) writeTitle(node, x + 5, y + 4, width - 10);
      else writeLines(box, x + 5, y + 4, width - 10, height - 4);
    }
  };
  // Too small for its distributions: how much of it is its own is still seen.
  const splitBox = (box, palette) => {
    const { node, x, y, width, height } = box;
    const own = node.children().reduce((sum, child) => sum + (child.kind === "own" ? child.value : 0), 0);
    const part = Math.max(height - 1, 0.5) * (node.value ? own / node.value : 0);
    context.fillStyle = palette.shared;
    context.fillRect(x, y, Math.max(width - 1, 0.5), Math.max(height - 1, 0.5));
    context.fillStyle = palette.own;
    context.fillRect(x, y + Math.max(height - 1, 0.5) - part, Math.max(width - 1, 0.5), part);
  };
  const mark = (palette) => {
    if (at < 0) return;
    const { x, y, width, height } = boxes[at];
    context.strokeStyle = palette.text;
    context.lineWidth = 3;
    context.strokeRect(x + 1, y + 1, Math.max(width - 3, 1), Math.max(height - 3, 1));
  };
  const choose = (index, event) => {
    if (index !== at) { at = index; draw(); }
    tip.hidden = at < 0;
    if (at < 0) return;
    const { node, x, y, width, height } = boxes[at];
    tip.replaceChildren(make("b", {}, node.label), size(node.value), ...node.lines.flatMap((line) => [make("br"), line]));
    $("spoken").textContent = `${node.label}, ${size(node.value)}, ${node.lines.join(", ")}`;
    const box = canvas.getBoundingClientRect();
    const px = event ? event.clientX - box.left : x + width / 2, py = event ? event.clientY - box.top : y + height / 2;
    tip.style.left = `${Math.max(4, Math.min(px + 14, canvas.clientWidth - tip.offsetWidth - 4))}px`;
    tip.style.top = `${Math.max(4, Math.min(py + 18, canvas.clientHeight - tip.offsetHeight - 4))}px`;
  };
  const boxAt = (event) => {
    const box = canvas.getBoundingClientRect(), px = event.clientX - box.left, py = event.clientY - box.top;
    return boxes.findIndex(({ x, y, width, height }) => px >= x && px < x + width && py >= y && py < y + height);
  };
  const go = (next) => {
    $("area").textContent = next[0].area;
    trail = next; at = -1; tip.hidden = true;
    $("path").replaceChildren(...trail.slice(0, -1).flatMap((node, depth) => [
      make("button", { type: "button", onclick: () => go(trail.slice(0, depth + 1)) }, node.label), " \u203a "]),
      trail.length > 1 ? trail.at(-1).label : "");
    draw();
  };
  const enter = (node) => { if (node?.children) go([...trail, node]); };
  const walk = (dx, dy) => {
    if (!boxes.length) return;
    if (at < 0) { choose(0); return; }
    const from = boxes[at], cx = from.x + from.width / 2, cy = from.y + from.height / 2;
    let best = -1, least = Infinity;
    boxes.forEach((box, index) => {
      const ox = box.x + box.width / 2 - cx, oy = box.y + box.height / 2 - cy;
      const along = ox * dx + oy * dy, across = Math.abs(ox * dy) + Math.abs(oy * dx);
      if (index !== at && along > 0.5 && along + 2 * across < least) { least = along + 2 * across; best = index; }
    });
    if (best >= 0) choose(best);
  };
  canvas.addEventListener("mousemove", (event) => choose(boxAt(event), event));
  canvas.addEventListener("mouseleave", () => choose(-1));
  canvas.addEventListener("click", (event) => enter(boxes[boxAt(event)]?.node));
  canvas.addEventListener("blur", () => choose(-1));
  canvas.addEventListener("keydown", (event) => {
    const keys = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (keys[event.key]) walk(...keys[event.key]);
    else if (event.key === "Enter" || event.key === " ") enter(boxes[at]?.node);
    else if ((event.key === "Escape" || event.key === "Backspace") && trail.length > 1) go(trail.slice(0, -1));
    else return;
    event.preventDefault();
  });
  const press = (buttons, chosen) => {
    for (const button of buttons) button.setAttribute("aria-pressed", String(button === chosen));
  };
  const viewButtons = [...document.querySelectorAll("[data-view]")];
  for (const button of viewButtons)
    button.addEventListener("click", () => { press(viewButtons, button); go([views[button.dataset.view]]); });

  // The list ---------------------------------------------------------------------------------------
  const text = (get) => ({ get, text: true }), bytes = (get) => ({ get, show: (value) => (value === null ? "" : size(value)) });
  const showEnvironment = (one) => {
    press(viewButtons, viewButtons[0]);
    const top = views.environments.children();
    const folder = top.find((found) => found.folder && found.children().some((node) => node.one === one));
    const node = (folder ? folder.children() : top).find((found) => found.one === one);
    go([views.environments, folder, node].filter(Boolean));
    canvas.scrollIntoView({ block: "center" });
    canvas.focus();
  };
  const lists = {
    environments: { rows: environments, order: ["Exclusive", -1], columns: {
      Environment: { ...text((one) => one.path), open: showEnvironment },
      State: { ...text((one) => one.state), badge: true },
      Python: text((one) => (one.kind === "venv" ? one.python : `${one.python} ${one.kind}`)),
      Distributions: { get: (one) => one.distributions, show: count },
      Apparent: bytes((one) => one.apparent),
      "On disk": bytes((one) => one.on_disk),
      Exclusive: { get: (one) => one.exclusive, show: about },
      ...(environments.some((one) => one.adopting !== null) && { "Adopting frees": bytes((one) => Math.max(one.adopting, 0)) }),
      "Last used": { get: (one) => one.used, show: age },
    } },
    distributions: { rows: distributions, order: ["On disk", -1], columns: {
      Distribution: text((one) => one.name),
      Versions: text((one) => [...new Set(one.entries.map((entry) => entry.version))].join(", ")),
      "On disk": bytes((one) => one.bytes),
      Environments: { get: (one) => one.users, show: count },
      "gc frees": bytes((one) => one.entries.reduce((sum, entry) => sum + (entry.condemned ? entry.bytes : 0), 0)),
    } },
  };
  let list = lists.environments;
  const cell = (column, row, first) => {
    const value = column.get(row), shown = column.show ? column.show(value, row) : value;
    const name = `${column.text ? "text" : ""}${first ? " name" : ""}`;
    if (column.open) return make("td", { class: name }, make("button", { type: "button", onclick: () => column.open(row) },
      ...shown.split(/(?<=\/)/).flatMap((part) => [make("wbr"), part])));
    if (column.badge) return make("td", { class: name, title: row.note || shown }, make("span", { class: "state" }, shown));
    return make("td", { class: name }, shown);
  };
  const rowOf = (row) => (row.made ??= {})[list === lists.environments ? "e" : "d"] ??=
    make("tr", {}, ...Object.values(list.columns).map((column, index) => cell(column, row, index === 0)));
  const fill = () => {
    const [name, direction] = list.order, column = list.columns[name], wanted = $("filter").value.toLowerCase();
    const compare = new Intl.Collator("en", { numeric: true }).compare;
    const value = (row) => column.get(row) ?? -1;
    const rows = list.rows
      .filter((row) => Object.values(list.columns).some((one) => one.text && one.get(row).toLowerCase().includes(wanted)))
      .sort((a, b) => direction * (column.text ? compare(value(a), value(b)) : value(a) - value(b)));
    $("table").tHead.replaceChildren(make("tr", {}, ...Object.entries(list.columns).map(([title, one]) => make("th", {
      scope: "col", class: `${one.text ? "text" : ""}${one === Object.values(list.columns)[0] ? " name" : ""}`,
      "aria-sort": title === name ? (direction < 0 ? "descending" : "ascending") : "none",
    }, make("button", { type: "button", onclick: (event) => sort(title, one, event) }, title)))));
    const elements = rows.map(rowOf), sorted = Object.keys(list.columns).indexOf(name);
    for (const { cells } of [$("table").tHead.rows[0], ...elements])
      for (let index = 0; index < cells.length; index += 1) cells[index].classList.toggle("sorted", index === sorted);
    $("table").tBodies[0].replaceChildren(...elements);
    $("matches").textContent = wanted ? `${count(rows.length)} of ${count(list.rows.length)}` : "";
  };
  const sort = (title, column) => {
    const first = column.text ? 1 : -1;
    list.order = [title, list.order[0] === title ? -list.order[1] : first];
    fill();
    [...$("table").tHead.querySelectorAll("button")].find((button) => button.textContent === title).focus();
  };
  // What has the focus is not left under the columns that stay in sight.
  $("table").addEventListener("focusin", ({ target }) => {
    if (target.closest(".sorted") || !target.matches(":focus-visible")) return;
    const [name, sorted] = [".name", ".sorted:not(.name)"].map((one) => $("table").tHead.querySelector(one)?.offsetWidth ?? 0);
    const shown = target.closest(".scroll");
    shown.style.scrollPadding = `${$("table").tHead.offsetHeight}px ${sorted}px 0 ${target.closest(".name") ? 0 : name}px`;
    target.scrollIntoView({ block: "nearest", inline: "nearest" });
  });
  const listButtons = [...document.querySelectorAll("[data-list]")];
  for (const button of listButtons)
    button.addEventListener("click", () => { press(listButtons, button); list = lists[button.dataset.list]; fill(); });
  $("filter").addEventListener("input", fill);

  // The rest ---------------------------------------------------------------------------------------
  const card = (value, what, command, good) => make("div", { class: "card" },
    make("b", good ? { class: "good" } : {}, value), make("span", { class: "what" }, what),
    ...(command ? [make("br"), make("code", {}, command)] : []));
  const own = environments.filter((one) => one.adopting !== null);
  const collect = environments.some((one) => one.state === "missing") ? "pipm gc --missing" : "pipm gc";
  $("cards").append(
    card(size(data.total), `on disk: ${counted(environments.length, "environment")}, ${counted(entries.length, "distribution")} in the store`),
    card(size(data.saved), `saved by sharing${data.folder ? " in all environments" : ""}`, "", true),
    card(size(data.store.reclaimable), "can be removed: nothing uses it", data.store.reclaimable ? collect : ""));
  if (own.length) $("cards").append(card(`~ ${size(Math.max(own.reduce((sum, one) => sum + one.adopting, 0), 0))}`,
    `more by adopting ${counted(own.length, "environment")}`, `pipm adopt --all ${data.folder}`));
  $("legend").append(...[["shared", "shared by environments"], ["alone", "in the store for one"],
    ["own", "an environment’s own"], ["unused", "used by nothing"]]
    .map(([kind, words]) => make("li", {}, make("i", { class: `i-${kind}` }), words)));
  $("subtitle").textContent = `Store ${data.store.path}, ${size(data.store.on_disk)} on disk`;
  $("footer").textContent = `Made by pipm ${data.version} on ${new Date(data.generated * 1000).toLocaleString()}. `
    + (data.oldest < data.generated - 60 ? `Unchanged environments as measured up to ${age(data.oldest)}. ` : "")
    + "Exclusive is what deleting an environment frees"
    + (environments.some((one) => one.about) ? ", ~ within a tenth." : ".");
  new ResizeObserver(draw).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  go([views.environments]);
  fill();
})();
