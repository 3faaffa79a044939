/** Alerts fire when their cause is there and not otherwise, and nothing asks for a metric that no program gives. */

import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { expect } from 'chai'
import { dump } from 'js-yaml'

import { createOperatorMetrics } from '../../src/operator/metrics.ts'
import { createRecorderMetrics } from '../../src/platform/metrics.ts'
import { isObject, objectsAt, textAt } from '../../src/policy/json.ts'
import type { Json, JsonObject } from '../../src/policy/json.ts'
import { createWebhookMetrics } from '../../src/webhook/metrics.ts'
import { CHART, findHelm, objectsOf, render } from '../support/helm.ts'
import { nameOf } from '../support/kube-apiserver.ts'

type Series = Readonly<Record<string, string>>

/** What each alert is to fire on, and what looks like it and is well. Values are those of promtool: `0+1x9` counts up for ten minutes. `at`: minutes. */
const ALERTS: Readonly<Record<string, { readonly at: number; readonly fires: readonly Series[]; readonly quiet: readonly Series[] }>> = {
  StenoInjectorCertificateExpires: { at: 11, fires: [{ 'steno_certificate_expiry_seconds{pod="a"}': '400000x20', 'steno_certificate_expiry_seconds{pod="b"}': '900000x20' }], quiet: [{ 'steno_certificate_expiry_seconds{pod="a"}': '900000x20' }, { 'steno_certificate_expiry_seconds{pod="a"}': '400000x5 900000x20' }] },
  StenoBlind: { at: 12, fires: [{ 'steno_cache_blind_seconds{pod="steno-injector-a",objects="policies"}': '0+60x20' }, { 'steno_cache_blind_seconds{pod="steno-operator-a",objects="configmaps"}': '0+60x20' }], quiet: [{ 'steno_cache_blind_seconds{pod="steno-injector-a",objects="policies"}': '0x3 250 0x20' }] },
  StenoInjectorFails: { at: 20, fires: [{ 'steno_admission_reviews_total{path="/mutate-pod",status="503"}': '0+1x30' }], quiet: [{ 'steno_admission_reviews_total{path="/mutate-pod",status="200"}': '0+9x30', 'steno_admission_reviews_total{path="/mutate-pod",status="503"}': '4x30' }] },
  StenoPodsMissing: { at: 12, fires: [{ 'steno_pods{namespace="a",policy="b",state="missing"}': '2x20' }], quiet: [{ 'steno_pods{namespace="a",policy="b",state="missing"}': '0x20', 'steno_pods{namespace="a",policy="b",state="outdated"}': '3x20' }, { 'steno_pods{namespace="a",policy="b",state="missing"}': '2x4 0x20' }] },
  StenoNobodyOperates: { at: 7, fires: [{ 'leader_election_master_status{name="steno-operator",pod="a"}': '0x20' }, {}], quiet: [{ 'leader_election_master_status{name="steno-operator",pod="a"}': '0x20', 'leader_election_master_status{name="steno-operator",pod="b"}': '1x20' }] },
  StenoOperatorFails: { at: 40, fires: [{ 'steno_failing_keys{name="access",pod="a"}': '0x10 1x60', 'steno_failing_keys{name="access",pod="b"}': '0x60' }], quiet: [{ 'steno_failing_keys{name="access",pod="a"}': '0x20 1x10 0x9 2x60' }, { 'steno_failing_keys{name="access",pod="a"}': '0x60' }] },
  StenoUnshipped: { at: 12, fires: [{ 'steno_unshipped_seconds{namespace="a",pod="b"}': '0+60x20' }], quiet: [{ 'steno_unshipped_seconds{namespace="a",pod="b"}': '5x20' }, { 'steno_unshipped_seconds{namespace="a",pod="b"}': '0 400 5x20' }] },
  StenoBlocked: { at: 5, fires: [{ 'steno_blocked_total{namespace="a",pod="b",reason="recording"}': '_ _ 1x20' }, { 'steno_blocked_total{namespace="a",pod="b",reason="recording"}': '3x2 4x20' }], quiet: [{ 'steno_blocked_total{namespace="a",pod="b",reason="unreadable-request"}': '0+1x20' }] },
  StenoGaps: { at: 20, fires: [{ 'steno_gaps_total{namespace="a",pod="b",reason="spool.full"}': `${'_ '.repeat(15)}1x20` }], quiet: [{ 'steno_gaps_total{namespace="a",pod="b",reason="spool.full"}': '1x40' }] },
}

/** Names of metrics in a query; what stands in braces, brackets and after by is none. */
function metricsIn(query: string): string[] {
  const bare = query
    .replaceAll(/\{[^}]*\}/g, ' ')
    .replaceAll(/\[[^\]]*\]/g, ' ')
    .replaceAll(/\b(?:by|without|on|ignoring)\s*\([^)]*\)/g, ' ')
    .replaceAll(/\boffset\s+\S+/g, ' ')
  return [...bare.matchAll(/[a-zA-Z_:][\w:]*(?!\s*\(|\w)/g)].map(match => match[0]).filter(name => !['unless', 'or', 'and', 'bool'].includes(name))
}

/** All that the programs give, parts of histograms included. */
async function knownMetrics(): Promise<ReadonlySet<string>> {
  const [recorder, injector, operator] = [createRecorderMetrics(), createWebhookMetrics(), createOperatorMetrics()]
  recorder.observe({ spoolBytes: () => 0, unshippedSeconds: () => 0, recording: () => true })
  injector.observe({ certificateNotAfterMs: () => 0, nowMs: () => 0, blindMs: () => ({}) })
  operator.observe({ queues: () => [], leading: () => true, blindMs: () => ({}), pods: () => new Map() })
  const texts = await Promise.all([recorder, injector, operator].map(async each => await each.text()))
  return new Set(
    [...texts.join('\n').matchAll(/^# TYPE (\S+) (\S+)$/gm)].flatMap(([, name = '', type]) => (type === 'histogram' ? ['bucket', 'sum', 'count'].map(part => `${name}_${part}`) : [name])),
  )
}

describe('monitoring', function () {
  this.timeout(60_000)
  let objects: readonly JsonObject[]
  let rules: readonly JsonObject[]
  before(function () {
    const helm = findHelm()
    if (helm === undefined) return this.skip()
    objects = objectsOf(render(helm, 'cert-manager-values.yaml'))
    rules = objects.filter(each => each['kind'] === 'PrometheusRule').flatMap(each => objectsAt(each['spec'], 'groups').flatMap(group => objectsAt(group, 'rules')))
  })

  /** @returns what promtool says; undefined where it is missing */
  const unitTests = async (tests: Json): Promise<string | undefined> => {
    const folder = await mkdtemp(join(tmpdir(), 'alerts-'))
    try {
      await writeFile(join(folder, 'rules.yaml'), dump({ groups: [{ name: 'all', rules }] }))
      await writeFile(join(folder, 'tests.yaml'), dump({ rule_files: ['rules.yaml'], evaluation_interval: '1m', tests }))
      const { error, status, stdout, stderr } = spawnSync('promtool', ['test', 'rules', 'tests.yaml'], { cwd: folder, encoding: 'utf8' })
      if (error !== undefined && process.env['CI'] !== 'true') return undefined
      return status === 0 ? '' : `${stdout}${stderr}${error?.message ?? ''}`
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  }
  const testOf = (alert: string, at: number, series: Series, firing: boolean): JsonObject => ({
    interval: '1m',
    input_series: Object.entries(series).map(([name, values]) => ({ series: name, values })),
    promql_expr_test: [{ expr: `count(ALERTS{alertname="${alert}",alertstate="firing"})`, eval_time: `${at}m`, exp_samples: firing ? [{ labels: '{}', value: 1 }] : [] }],
  })

  it('every alert has a cause on which it is tried', () => {
    expect(rules.map(each => textAt(each, 'alert')).toSorted()).to.deep.equal(Object.keys(ALERTS).toSorted())
  })

  for (const [alert, { at, fires, quiet }] of Object.entries(ALERTS)) {
    it(`${alert} fires on its cause, and not otherwise`, async function () {
      const found = await unitTests([...fires.map(series => testOf(alert, at, series, true)), ...quiet.map(series => testOf(alert, at, series, false))])
      if (found === undefined) return this.skip()
      expect(found).to.equal('')
    })
  }

  it('alerts and dashboard ask for metrics that a program gives', async () => {
    const known = await knownMetrics()
    const dashboard = objects.find(each => nameOf(each) === 'steno-dashboard')
    const shipped: unknown = JSON.parse(textAt(dashboard?.['data'], 'steno.json') ?? '')
    expect(shipped).to.deep.equal(JSON.parse(readFileSync(join(CHART, 'files/dashboards/steno.json'), 'utf8')))
    const panels = isObject(shipped) ? objectsAt(shipped, 'panels') : []
    const queries = [...panels.flatMap(panel => objectsAt(panel, 'targets')).flatMap(each => textAt(each, 'expr') ?? []), ...rules.map(each => textAt(each, 'expr') ?? '')]
    expect(queries.length).to.be.greaterThan(30)
    const unknown = queries.flatMap(query => metricsIn(query).filter(name => !known.has(name)).map(name => `${name} in ${query}`))
    expect(unknown).to.deep.equal([])
    expect(queries.every(query => metricsIn(query).length > 0)).to.equal(true)
  })

  it('every query of the dashboard is one that Prometheus reads', async function () {
    const dashboard: unknown = JSON.parse(readFileSync(join(CHART, 'files/dashboards/steno.json'), 'utf8'))
    const queries = (isObject(dashboard) ? objectsAt(dashboard, 'panels') : []).flatMap(panel => objectsAt(panel, 'targets')).flatMap(each => textAt(each, 'expr') ?? [])
    const plain = queries.map(query => query.replaceAll('$__rate_interval', '5m').replaceAll('$namespace', '.*'))
    // What it answers to nothing does not matter; what it cannot read is an error.
    const found = await unitTests([{ interval: '1m', input_series: [], promql_expr_test: plain.map(expr => ({ expr, eval_time: '1m', exp_samples: [] })) }])
    if (found === undefined) return this.skip()
    expect(found).to.equal('')
  })
})
