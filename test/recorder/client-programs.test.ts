import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

import { expect } from 'chai'

import { startFixture } from '../../conformance/server/serve.ts'
import type { FetchServer } from '../support/fetch-server.ts'
import { recorderBefore } from '../support/recorder.ts'
import type { RecorderUnderTest } from '../support/recorder.ts'

const run = promisify(execFile)
const INSPECTOR = fileURLToPath(new URL('../../node_modules/@modelcontextprotocol/inspector-cli/build/', import.meta.url))
const PYTHON_CLIENT = fileURLToPath(new URL('../support/python_client.py', import.meta.url))
const PYTHON = process.env['STENO_MCP_PYTHON'] ?? 'python3'
const NO_PYTHON_SDK = "the Python SDK of MCP is missing: python3 -m venv ~/.cache/steno-mcp && ~/.cache/steno-mcp/bin/pip install 'mcp==2.3.0', and set STENO_MCP_PYTHON=~/.cache/steno-mcp/bin/python"

describe('client programs through the recorder', () => {
  let server: FetchServer
  let recorder: RecorderUnderTest
  beforeEach(async () => {
    server = await startFixture()
    recorder = await recorderBefore(server.url)
  })
  afterEach(async () => {
    await recorder.dispose()
    await server.close()
  })

  // It looks for its own package.json from where it is started.
  const inspect = async (url: string, args: readonly string[]): Promise<string> => (await run(process.execPath, ['index.js', url, ...args], { cwd: INSPECTOR })).stdout

  it("the Inspector's command line prints the same as without it", async () => {
    const commands = [
      ['--method', 'tools/list'],
      ['--method', 'tools/call', '--tool-name', 'test_image_content'],
      ['--method', 'resources/read', '--uri', 'test://static-text'],
      ['--method', 'prompts/get', '--prompt-name', 'test_prompt_with_arguments', '--prompt-args', 'arg1=a', 'arg2=grüße'],
    ]
    for (const command of commands) {
      const direct = await inspect(server.url, command)
      expect(direct).to.have.length.greaterThan(100)
      expect(await inspect(recorder.url, command)).to.equal(direct)
    }
    const recorded = await recorder.stop()
    expect(recorded.of('mcp').filter(frame => frame.type === 'request' && frame.from === 'client').map(frame => frame.method)).to.include.members(['tools/list', 'tools/call', 'resources/read', 'prompts/get'])
    expect(new Set(recorded.of('exchange.end').map(end => end.outcome))).to.not.include('error')
    expect(recorded.verdict).to.equal('consistent')
  }).timeout(60_000)

  describe('of the official Python SDK', () => {
    before(async function () {
      if (await run(PYTHON, ['-c', 'from mcp import Client']).then(() => true, () => false)) return
      if (process.env['CI'] === 'true') throw new Error(NO_PYTHON_SDK)
      console.error(`      skipped: ${NO_PYTHON_SDK}`)
      this.skip()
    })
    for (const [era, mode] of [['legacy', 'legacy'], ['modern', '2026-07-28'], ['modern', 'auto']] as const) {
      it(`see the same as without it in the ${era} era, mode ${mode}`, async () => {
        const session = async (url: string): Promise<unknown> => JSON.parse((await run(PYTHON, [PYTHON_CLIENT, url, mode])).stdout)
        const direct = await session(server.url)
        expect(direct).to.deep.include({ progress: [0, 50, 100] })
        expect(await session(recorder.url)).to.deep.equal(direct)
        const recorded = await recorder.stop()
        expect(new Set(recorded.of('exchange.start').map(start => start.era))).to.include(era)
        expect(recorded.of('mcp').filter(frame => frame.type === 'request' && frame.from === 'client' && frame.method === 'tools/call').map(frame => frame.name)).to.include.members(['test_image_content', 'test_error_handling', 'test_tool_with_progress'])
        expect(recorded.verdict).to.equal('consistent')
      }).timeout(60_000)
    }
  })
})
