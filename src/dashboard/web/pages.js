// The pages: their names in the address, titles, icons and keys ("g" then the key). A page's module is loaded when it is opened.
//
// nav false: not in the navigation; parent: the entry there that is marked instead.

export const pages = [
	{ name: 'overview', title: 'Overview', key: 'o', icon: 'overview', load: () => import('./pages/overview.js') },
	{ name: 'jobs', title: 'Jobs', key: 'j', icon: 'jobs', load: () => import('./pages/jobs.js') },
	{ name: 'failures', title: 'Failures', key: 'f', icon: 'failures', load: () => import('./pages/failures.js') },
	{ name: 'recurring', title: 'Recurring', key: 'r', icon: 'recurring', load: () => import('./pages/recurring.js') },
	{ name: 'batches', title: 'Batches', key: 'b', icon: 'batches', load: () => import('./pages/batches.js') },
	{ name: 'queues', title: 'Queues', key: 'q', icon: 'queues', load: () => import('./pages/queues.js') },
	{ name: 'limits', title: 'Limits', key: 'l', icon: 'limits', load: () => import('./pages/limits.js') },
	{ name: 'servers', title: 'Servers', key: 's', icon: 'servers', load: () => import('./pages/servers.js') },
	{ name: 'job', title: 'Job', nav: false, parent: 'jobs', load: () => import('./pages/job.js') },
	{ name: 'batch', title: 'Batch', nav: false, parent: 'batches', load: () => import('./pages/batches.js') }
];

export const pageNamed = (name) => pages.find((page) => page.name === name) ?? null;
