// Where the nodes of a graph of jobs stand: folding of like ones, columns by level, order within a column. Pure functions.
//
// A level has at most MOST nodes: where there are more jobs, those of one name are folded into one ("998 × resize, 3 failed"), the
// largest groups first, and what is left over into "others".

export const NODE = { width: 216, least: 150, height: 50, gapX: 60, leastGap: 38, gapY: 14 };
const ALONE = 4;
const MOST = 7;

const tally = (members) => {
	const counts = {};
	for (const m of members) counts[m.state ?? 'removed'] = (counts[m.state ?? 'removed'] ?? 0) + 1;
	return counts;
};

const single = (m, level) => ({ key: m.id, kind: 'job', level, label: m.job, state: m.state, id: m.id, members: [m] });
const group = (label, members, level) => ({ key: `${level}/${label ?? ''}`, kind: 'group', level, label, members, counts: tally(members) });

// foldLevel returns the nodes of one level.
function foldLevel(members, level, current) {
	const names = new Map();
	for (const m of members) {
		if (m.id === current) continue;
		if (!names.has(m.job)) names.set(m.job, []);
		names.get(m.job).push(m);
	}
	const nodes = members.filter((m) => m.id === current).map((m) => single(m, level));
	const groups = [...names.entries()].sort((a, b) => b[1].length - a[1].length);
	const few = members.length <= ALONE + 1;
	const others = [];
	for (const [name, list] of groups) {
		if (few || list.length <= 2 && groups.length <= ALONE) nodes.push(...list.map((m) => single(m, level)));
		else if (nodes.length >= MOST - 1 && groups.length > MOST) others.push(...list);
		else nodes.push(list.length === 1 ? single(list[0], level) : group(name, list, level));
	}
	if (others.length) nodes.push(others.length === 1 ? single(others[0], level) : { ...group(null, others, level), key: `${level} others`, others: true });
	return nodes;
}

// fold makes nodes and edges of what sql/job_graph.sql answers: {nodes, edges: [{from, to, count, state}]}.
export function fold(data, current) {
	const jobs = (data.nodes ?? []).map(([id, job, kind, state, level]) => ({ id, job, kind, state, level }));
	const levels = new Map();
	for (const job of jobs) levels.set(job.level, [...levels.get(job.level) ?? [], job]);
	const nodes = [...levels.entries()].flatMap(([level, members]) => foldLevel(members, level, current));
	const own = nodes.find((n) => n.id === current);
	const nodeOf = new Map(nodes.flatMap((n) => n.members.map((m) => [m.id, n])));
	const edges = new Map();
	const connect = (from, to, state, kind = '') => {
		if (!from || !to || from === to) return;
		const key = `${from.key}→${to.key}`;
		const edge = edges.get(key) ?? { key, from, to, count: 0, failed: 0, done: 0, kind };
		edge.count++;
		if (state === 'failed' || state === 'deleted') edge.failed++;
		if (state === 'succeeded') edge.done++;
		edges.set(key, edge);
	};
	const stateOf = new Map(jobs.map((j) => [j.id, j.state]));
	for (const [from, to] of data.edges ?? []) connect(nodeOf.get(from), nodeOf.get(to), stateOf.get(from));
	for (const [batch, to] of data.batch_edges ?? []) {
		if (batch === data.batch) connect(own, nodeOf.get(to), stateOf.get(current), 'batch');
		else if (to === current) {
			const node = { key: `batch ${batch}`, kind: 'batch', level: -1, label: batch, id: batch, members: [] };
			nodes.push(node);
			connect(node, own, null, 'batch');
		}
	}
	for (const name of data.signals ?? []) {
		const node = { key: `signal ${name}`, kind: 'signal', level: -1, label: name, members: [] };
		nodes.push(node);
		connect(node, own, null, 'signal');
	}
	for (const [level, total] of [[-1, Number(data.before)], [1, Number(data.after)]]) {
		const missing = total - (levels.get(level)?.length ?? 0);
		if (missing > 0) nodes.push({ key: `more ${level}`, kind: 'more', level, missing, atLeast: level === 1 && total >= 10000, members: [] });
	}
	// those that hold up are drawn over the others
	return { nodes, edges: [...edges.values()].sort((a, b) => a.failed - b.failed) };
}

// place gives each node x and y, and returns the size: so many pixels wide as there are, if the columns get room enough in these. Nodes of
// a column stand in the order of their neighbours' middle.
export function place({ nodes, edges }, available) {
	const levels = [...new Set(nodes.map((n) => n.level))].sort((a, b) => a - b);
	const columns = levels.map((level) => nodes.filter((n) => n.level === level));
	const tallest = Math.max(...columns.map((c) => c.length));
	const height = tallest * (NODE.height + NODE.gapY) - NODE.gapY;
	const gap = columns.length > 3 ? NODE.leastGap : NODE.gapX;
	const width = Math.max(NODE.least, Math.min(NODE.width, Math.floor((available - (columns.length - 1) * gap) / columns.length)));
	const put = (column, x) => column.forEach((n, i) => {
		n.x = x * (width + gap);
		n.y = (height - (column.length * (NODE.height + NODE.gapY) - NODE.gapY)) / 2 + i * (NODE.height + NODE.gapY);
	});
	columns.forEach(put);
	const middle = (node, mine, theirs) => {
		const ys = edges.filter((e) => e[mine] === node).map((e) => e[theirs].y);
		return ys.length ? ys.reduce((a, b) => a + b, 0) / ys.length : node.y;
	};
	for (const [mine, theirs, order] of [['to', 'from', columns], ['from', 'to', [...columns].reverse()]]) {
		for (const column of order) {
			const wanted = new Map(column.map((n) => [n, middle(n, mine, theirs)]));
			column.sort((a, b) => wanted.get(a) - wanted.get(b));
			put(column, columns.indexOf(column));
		}
	}
	return { columns, nodeWidth: width, width: columns.length * (width + gap) - gap, height };
}
