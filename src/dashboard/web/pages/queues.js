// The page Queues.

import { html } from '../lib.js';
import { PageHead, useData, Code } from '../ui.js';

export default function Page() {
	const { data, ms } = useData('queues', {}, { refresh: true });
	return html`<${PageHead} title="Queues" ms=${ms} /><${Code} text=${JSON.stringify(data, null, 2)} />`;
}
