/** The fixture as a process of its own: tells its parent the address, ends with it. */

import { startFixture } from './serve.ts'

const fixture = await startFixture(Number(process.env['PORT'] ?? 0))
process.send?.({ url: fixture.url })
console.log(fixture.url)
process.on('disconnect', () => process.exit(0))
