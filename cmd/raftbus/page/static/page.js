// What the page does: asks its node each second, draws what it says, and lists keys when told to. All that comes from the cluster is put
// there as text, never as HTML; the page's policy would not let it be otherwise.
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const make = (tag, text, name) => {
    const e = document.createElement(tag);
    if (text !== undefined) e.textContent = text;
    if (name) e.className = name;
    return e;
  };
  const ask = async (path, query = {}) => {
    const answer = await fetch(path + "?" + new URLSearchParams(query), { signal: AbortSignal.timeout(8000) });
    const body = await answer.json();
    if (body.error) throw new Error(body.error.description || "error " + body.error.code);
    return body;
  };

  // --- numbers, as people read them
  const ms = (seconds) => (seconds > 0 ? (seconds * 1000).toFixed(seconds < 0.01 ? 2 : 0) : "–");
  const count = (n) => (n > 0 && n < 10 ? n.toFixed(1) : Math.round(n).toLocaleString("en"));
  const size = (bytes) => {
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let i = 0;
    for (; bytes >= 1024 && i < units.length - 1; i++) bytes /= 1024;
    return (i ? bytes.toFixed(1) : Math.round(bytes)) + " " + units[i];
  };
  const ago = (now, then) => Math.max(0, Math.round((new Date(now) - new Date(then)) / 1000)) + " s";

  // --- the cluster
  const columns = [
    ["role", (n) => n.role], ["term", (n) => n.term], ["last", (n) => n.log_last], ["commit", (n) => n.commit], ["applied", (n) => n.applied], ["lag", (n) => n.lag ?? "–"],
    ["writes/s", (n) => count(n.writes.per_second)], ["p99 ms", (n) => ms(n.writes.p99_seconds)], ["reads/s", (n) => count(n.reads.per_second)], ["p99 ms", (n) => ms(n.reads.p99_seconds)],
    ["syncs/s", (n) => count(n.syncs.per_second)], ["p99 ms", (n) => ms(n.syncs.p99_seconds)], ["log", (n) => size(n.log_bytes)], ["store", (n) => size(n.store_bytes)],
  ];
  const head = (...names) => {
    const row = make("tr");
    for (const name of names) row.append(make("th", name));
    return row;
  };
  const nodeRow = (v, n) => {
    const row = make("tr", undefined, !n.answers || !n.ready ? "bad" : n.id === v.leader ? "leader" : "");
    row.append(make("td", n.id));
    if (n.answers) {
      for (const [, of] of columns) row.append(make("td", of(n)));
    } else {
      const since = n.since ? `no answer since ${new Date(n.since).toISOString().slice(11, 19)} UTC (${ago(v.time, n.since)}); it was ${n.role} in term ${n.term}, and had applied ${n.applied}` : "no answer yet";
      const cell = make("td", since, "text");
      cell.colSpan = columns.length;
      row.append(cell);
    }
    return row;
  };
  const linkCell = (v, from, to) => {
    const l = from.links.find((l) => l.to === to.id);
    if (!l) return make("td", "–");
    if (l.connected) return make("td", ms(l.round_trip_seconds) + " ms");
    const cell = make("td", "broken " + ago(v.time, l.since), "bad");
    cell.title = l.reason || "";
    return cell;
  };
  const show = (v) => {
    const answering = v.nodes.filter((n) => n.answers);
    const who = v.leader ? `${v.leader} leads in term ${v.term}` : "no leader";
    byId("headline").textContent = `${v.prefix || "raftbus"}: ${who}, ${answering.length} of ${v.nodes.length} nodes answer`;
    byId("headline").className = v.leader ? "" : "bad";
    byId("nodes").replaceChildren(head("node", ...columns.map(([name]) => name)), ...v.nodes.map((n) => nodeRow(v, n)));
    byId("links").replaceChildren(head("from", ...v.nodes.map((n) => "to " + n.id)), ...answering.map((from) => {
      const row = make("tr");
      row.append(make("td", from.id), ...v.nodes.map((to) => linkCell(v, from, to)));
      return row;
    }));
    byId("problems").replaceChildren(...v.nodes.flatMap((n) => n.problems.map((p) => make("li", n.id + ": " + p))));
    plot(byId("throughput"), v.time, [v.writes.per_second, v.reads.per_second]);
    plot(byId("latency"), v.time, [v.writes.p99_seconds * 1000, v.reads.p99_seconds * 1000]);
  };

  // --- plots: the last two minutes
  const span = 120_000, width = 600, height = 160, points = new Map();
  const draw = (tag, attributes, text) => {
    const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
    if (text !== undefined) e.textContent = text;
    return e;
  };
  const plot = (svg, time, values) => {
    const now = Date.parse(time), list = points.get(svg) || [];
    if (!list.length || list[list.length - 1].at < now) list.push({ at: now, values });
    while (list.length && list[0].at < now - span) list.shift();
    points.set(svg, list);
    const top = Math.max(1, ...list.flatMap((p) => p.values)) * 1.1;
    const y = (value) => height - 4 - (value / top) * (height - 8);
    const line = (i) => list.map((p) => `${(width - ((now - p.at) / span) * width).toFixed(1)},${y(p.values[i]).toFixed(1)}`).join(" ");
    const grid = [0.25, 0.5, 0.75].flatMap((part) => [
      draw("line", { x1: 0, x2: width, y1: y(part * top), y2: y(part * top) }),
      draw("text", { x: 4, y: y(part * top) - 2 }, count(part * top)),
    ]);
    svg.replaceChildren(...grid, draw("polyline", { class: "a", points: line(0) }), draw("polyline", { class: "b", points: line(1) }));
  };

  const trouble = (text) => {
    byId("trouble").textContent = text;
    byId("trouble").hidden = !text;
  };
  const watch = async () => {
    try {
      const v = await ask("api/cluster");
      show(v);
      trouble(v.trouble || "");
    } catch (e) {
      trouble("This node does not answer: " + e.message + ". What is shown is old.");
    }
    setTimeout(watch, 1000);
  };

  // --- keys
  const say = (text, bad) => {
    byId("said").textContent = text;
    byId("said").className = bad ? "bad" : "";
  };
  const tried = (work) => async (event) => {
    if (event) event.preventDefault();
    try {
      await work();
    } catch (e) {
      say(e.message, true);
    }
  };
  const listBuckets = tried(async () => {
    const chosen = byId("bucket").value;
    const { buckets, more } = await ask("api/buckets", { limit: 1000 });
    byId("bucket").replaceChildren(...buckets.map((name) => make("option", name)));
    if (buckets.includes(chosen)) byId("bucket").value = chosen;
    say(buckets.length ? (more ? "Only the first 1000 buckets are listed." : "") : "There are no buckets.");
  });
  let next = null; // where the list goes on
  const listKeys = async (query) => {
    const page = await ask("api/keys", query);
    const list = page.keys.map((key) => {
      const button = make("button", key), item = make("li");
      button.type = "button";
      button.addEventListener("click", tried(() => showValue(page.bucket, key)));
      item.append(button);
      return item;
    });
    if (!query.after) byId("keys").replaceChildren();
    byId("keys").append(...list);
    next = page.more ? { ...query, after: page.after } : null;
    byId("more").hidden = !next;
    say(`${byId("keys").childElementCount} keys${next ? ", and there are more" : ""}; the list is linearizable`);
  };
  const showValue = async (bucket, key) => {
    byId("value").textContent = "";
    byId("about").replaceChildren();
    const v = await ask("api/value", { bucket, key, read: byId("read").value });
    const about = { key: v.key, revision: v.revision, "cluster revision": v.cluster_revision, time: v.time, read: v.read || "linearizable" };
    if (v.read) Object.assign(about, { "reflects log entry": v.applied, "age, ms": v.age_ms });
    byId("about").append(...Object.entries(about).flatMap(([name, value]) => [make("dt", name), make("dd", value)]));
    byId("value").textContent = v.value ?? "base64: " + v.value_base64;
  };

  addEventListener("DOMContentLoaded", () => {
    byId("browse").addEventListener("submit", tried(async () => {
      await listBuckets();
      if (byId("bucket").value) await listKeys({ bucket: byId("bucket").value, prefix: byId("prefix").value, limit: byId("limit").value });
    }));
    byId("more").addEventListener("click", tried(() => listKeys(next)));
    listBuckets();
    watch();
  });
})();
