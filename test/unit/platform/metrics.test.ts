import { expect } from 'chai'
import { createRecorderMetrics } from '../../../src/platform/metrics.ts'
import { promtoolFindings } from '../../support/promtool.ts'

describe('createRecorderMetrics()', () => {
  it('counts by label when counted several times, and not twice when read twice', async () => {
    const metrics = createRecorderMetrics()
    metrics.frames('mcp')
    metrics.frames('mcp')
    metrics.frames('gap')
    metrics.shipRecords('accepted', 7)
    await metrics.text()
    const text = await metrics.text()
    expect(text).to.include('steno_frames_total{kind="mcp"} 2')
    expect(text).to.include('steno_frames_total{kind="gap"} 1')
    expect(text).to.include('steno_ship_records_total{result="accepted"} 7')
  })

  it('reads gauges when someone asks', async () => {
    const metrics = createRecorderMetrics()
    let bytes = 1
    metrics.observe({ spoolBytes: () => bytes, unshippedSeconds: () => 2.5, recording: () => false })
    bytes = 4096
    const text = await metrics.text()
    expect(text).to.include('steno_spool_bytes 4096')
    expect(text).to.include('steno_unshipped_seconds 2.5')
  })

  it('folds what a peer chooses into "other" when it is unknown or too much', async () => {
    const metrics = createRecorderMetrics()
    metrics.operation({ method: 'evil/1', seconds: 1 })
    metrics.operation({ method: 'tools/list', errorType: '12345', seconds: 1 })
    for (let i = 0; i < 150; i++) metrics.operation({ method: 'tools/call', tool: `tool-${i}`, seconds: 0.001 })
    const text = await metrics.text()
    expect(text).to.include('mcp_method_name="other"').and.not.include('evil')
    expect(text).to.include('error_type="other"').and.not.include('12345')
    expect(text).to.include('gen_ai_tool_name="tool-99"').and.not.include('gen_ai_tool_name="tool-100"')
    expect(text).to.match(/mcp_server_operation_duration_seconds_count\{mcp_method_name="tools\/call",gen_ai_tool_name="other",error_type=""\} 50/)
  })

  it('is read by promtool without a complaint when everything has a value', async function () {
    const metrics = createRecorderMetrics()
    metrics.frames('mcp')
    metrics.exchange('ok')
    metrics.blocked('spool.full')
    metrics.gap('torn')
    metrics.fsync(0.0002)
    metrics.addedLatency('request', 0.0003)
    metrics.addedLatency('response', 0.0003)
    metrics.shipRecords('accepted', 1)
    metrics.shipBytes(100)
    metrics.shipAck(0.01)
    metrics.operation({ method: 'tools/call', tool: 'a "quoted"\nname\\', errorType: 'tool_error', seconds: 0.1 })
    metrics.observe({ spoolBytes: () => 0, unshippedSeconds: () => 0, recording: () => true })
    const findings = promtoolFindings(await metrics.text())
    if (findings === undefined) {
      if (process.env['CI'] === 'true') throw new Error('promtool is missing: install the Debian package prometheus')
      console.error('      skipped: promtool is missing; install the Debian package prometheus')
      this.skip()
    }
    expect(findings).to.equal('')
  })
})
