// The page Servers.

import { html } from '../lib.js';
import { PageHead, useData, Code } from '../ui.js';

export default function Page() {
	const { data, ms } = useData('servers', {}, { refresh: true });
	return html`<${PageHead} title="Servers" ms=${ms} /><${Code} text=${JSON.stringify(data, null, 2)} />`;
}
