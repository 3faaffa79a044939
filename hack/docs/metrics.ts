/** docs/metrics.md from what the three parts really say at /metrics, and from the alerts of the chart. Pure. */

export interface Exposition {
  /** `recorder`, `injector`, `operator`. */
  readonly part: string
  /** The text format of Prometheus, with at least one sample of every metric. */
  readonly text: string
}

export interface Alert {
  readonly name: string
  readonly expr: string
  readonly summary: string
}

interface Metric {
  readonly name: string
  readonly type: string
  readonly help: string
  readonly labels: readonly string[]
}

/** @throws TypeError when a metric has no sample, so that its labels are unknown, or a label is not explained */
export function metricsReference(expositions: readonly Exposition[], alerts: readonly Alert[], labels: Readonly<Record<string, string>>): string {
  const known = expositions.flatMap(({ text }) => metricsOf(text))
  const unused = Object.keys(labels).filter(name => !known.some(metric => metric.labels.some(label => name === label || name === `${metric.name}.${label}`)))
  if (unused.length > 0) throw new TypeError(`no metric has the label ${unused.join(', ')}; see metric-labels.ts`)
  return [
    '# Metrics',
    '',
    'Made by `npm run docs` from the code; do not edit. Every part answers `GET /metrics` on its admin port (15090; 15088 of a recorder in a pod). Labels are of closed sets, or bounded: never a session, a person or an argument.',
    'A histogram has `_bucket`, `_sum` and `_count`.',
    '',
    ...expositions.flatMap(({ part, text }) => [
      `## ${part}`,
      '',
      '| metric | type | labels | what | alert |',
      '|---|---|---|---|---|',
      ...metricsOf(text).map(({ name, type, help, labels: own }) => `| \`${name}\` | ${type} | ${own.map(label => `\`${label}\``).join(', ')} | ${help.replaceAll('|', String.raw`\|`)} | ${alerts.filter(alert => uses(alert, name)).map(alert => `\`${alert.name}\``).join(', ')} |`),
      '',
    ]),
    '## Labels',
    '',
    '| label | values |',
    '|---|---|',
    ...labelRows(known, labels),
    '',
    '## Alerts',
    '',
    'Made by the chart with `monitoring.prometheusRule.enabled`. What to do about each stands in [troubleshooting.md](troubleshooting.md#alerts).',
    '',
    '| alert | says | fires when |',
    '|---|---|---|',
    ...alerts.map(({ name, expr, summary }) => `| \`${name}\` | ${summary} | \`${expr.replaceAll('|', String.raw`\|`)}\` |`),
    '',
  ].join('\n')
}

function uses({ expr }: Alert, metric: string): boolean {
  return new RegExp(`\\b${metric}(?:_bucket|_sum|_count)?\\b`).test(expr)
}

function labelRows(metrics: readonly Metric[], labels: Readonly<Record<string, string>>): string[] {
  const seen = new Set<string>()
  const rows: string[] = []
  for (const { name, labels: own } of metrics) {
    for (const label of own) {
      // The same word may mean one thing everywhere, or another in one metric.
      const key = labels[`${name}.${label}`] === undefined ? label : `${name}.${label}`
      if (labels[key] === undefined) throw new TypeError(`nothing says which values ${label} of ${name} has; see metric-labels.ts`)
      if (seen.has(key)) continue
      seen.add(key)
      rows.push(`| \`${label}\`${key === label ? '' : ` of \`${name}\``} | ${labels[key]} |`)
    }
  }
  return rows
}

function metricsOf(text: string): Metric[] {
  return [...text.matchAll(/^# HELP (\S+) (.*)\n# TYPE \S+ (\S+)\n((?:[^#\n].*\n?)*)/gm)].map(([, name = '', help = '', type = '', samples = '']) => {
    const [sample] = samples.split('\n').filter(line => line !== '')
    if (sample === undefined) throw new TypeError(`${name} has no sample; see samples.ts`)
    const labels = [...sample.matchAll(/[{,](\w+)="/g)].map(([, label = '']) => label).filter(label => !(label === 'le' && type === 'histogram'))
    return { name, type, help, labels }
  })
}

/** The alerts of a chart's templates, in the order of the files. */
export function alertsOf(templates: readonly string[]): Alert[] {
  return templates.flatMap(text =>
    [...text.matchAll(/- alert: (\w+)\n\s+expr: (.+)\n(?:.+\n)*?\s+summary: (.+)/g)].map(([, name = '', expr = '', summary = '']) => ({ name, expr: expr.replace(/^(['"])(.*)\1$/, '$2'), summary: summary.replace(/^(['"])(.*)\1$/, '$2') })),
  )
}
