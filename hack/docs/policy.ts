/** docs/policy.md from the CustomResourceDefinition: every field with type, default, limits and rules, in the words of the definition itself. Pure. */

import { isObject, objectAt, objectsAt, stringsAt, textAt } from '../../src/policy/json.ts'
import type { JsonObject } from '../../src/policy/json.ts'

export interface ConditionReasons {
  readonly condition: string
  readonly reasons: readonly string[]
}

/**
 * @param definition crds/sessionpolicies.steno.dev.yaml
 * @param examples YAML for each field of `spec`
 * @throws TypeError when a field has no example, or an example no field
 */
export function policyReference(definition: JsonObject, examples: Readonly<Record<string, string>>, conditions: readonly ConditionReasons[]): string {
  const group = textAt(objectAt(definition, 'spec'), 'group') ?? ''
  const [version = {}] = objectsAt(objectAt(definition, 'spec'), 'versions')
  const schema = objectAt(objectAt(version, 'schema'), 'openAPIV3Schema')
  const properties = objectAt(schema, 'properties')
  const spec = objectAt(properties, 'spec')
  const fields = Object.keys(objectAt(spec, 'properties'))
  const odd = [...fields.filter(name => examples[name] === undefined), ...Object.keys(examples).filter(name => !fields.includes(name))]
  if (odd.length > 0) throw new TypeError(`no example of a field, or an example of none: ${odd.join(', ')}; see policy-examples.ts`)
  const names = objectAt(objectAt(definition, 'spec'), 'names')
  const columns = objectsAt(version, 'additionalPrinterColumns')
  return [
    '# SessionPolicy',
    '',
    `${GENERATED} It says what \`kubectl explain sessionpolicy.spec --recursive\` says, and the rules beside it.`,
    '',
    textAt(schema, 'description') ?? '',
    `\`apiVersion: ${group}/${textAt(version, 'name') ?? ''}\`, \`kind: ${textAt(names, 'kind') ?? ''}\`, namespaced; \`kubectl get ${textAt(names, 'plural') ?? ''}\`, or \`${stringsAt(names, 'shortNames').join('`, `')}\`.`,
    'A field that is not known is refused. How several policies of one pod join is told in [inject.md](inject.md).',
    '',
    '```yaml',
    `apiVersion: ${group}/${textAt(version, 'name') ?? ''}`,
    `kind: ${textAt(names, 'kind') ?? ''}`,
    'metadata: {name: tools, namespace: team-a}',
    'spec:',
    indent(examples['selector'] ?? ''),
    '```',
    '',
    ...rules(spec, 'Of `spec` as a whole:'),
    ...fields.flatMap(name => section(name, objectAt(objectAt(spec, 'properties'), name), required(spec).includes(name), examples[name] ?? '')),
    '## Status',
    '',
    textAt(objectAt(properties, 'status'), 'description') ?? '',
    '',
    ...table(rows('', objectAt(properties, 'status'), [])),
    '### Conditions and their reasons',
    '',
    'What each means and what to do about it stands in [operate.md](operate.md#status).',
    '',
    '| condition | reasons |',
    '|---|---|',
    ...conditions.map(({ condition, reasons }) => `| \`${condition}\` | ${reasons.map(each => `\`${each}\``).join(', ')} |`),
    '',
    '## What `kubectl get` shows',
    '',
    '| column | what |',
    '|---|---|',
    ...columns.map(each => `| ${textAt(each, 'name') ?? ''}${each['priority'] === 1 ? ' (`-o wide`)' : ''} | ${textAt(each, 'description') ?? `\`${textAt(each, 'jsonPath') ?? ''}\``} |`),
    '',
  ].join('\n')
}

const GENERATED = 'Made by `npm run docs` from [crds/sessionpolicies.steno.dev.yaml](../crds/sessionpolicies.steno.dev.yaml); do not edit.'

interface Row {
  readonly path: string
  readonly type: string
  readonly limits: string
  readonly about: string
}

function section(name: string, field: JsonObject, isRequired: boolean, example: string): string[] {
  const inner = rows('', field, required(field))
  return [
    `## ${name}`,
    '',
    `${typeOf(field)}, ${isRequired ? 'required' : field['default'] === undefined ? 'optional' : `default \`${String(field['default'])}\``}${limitsOf(field) === '' ? '' : `; ${limitsOf(field)}`}.`,
    textAt(field, 'description') ?? '',
    '',
    '```yaml',
    example,
    '```',
    '',
    ...rules(field, ''),
    ...table(inner),
  ]
}

function rules(field: JsonObject, intro: string): string[] {
  const said = validations(field)
  return said.length === 0 ? [] : [...(intro === '' ? [] : [intro, '']), ...said.map(each => `- ${each}`), '']
}

function table(all: readonly Row[]): string[] {
  if (all.length === 0) return []
  return ['| field | type | limits | what |', '|---|---|---|---|', ...all.map(({ path, type, limits, about }) => `| \`${path}\` | ${type} | ${escaped(limits)} | ${escaped(about)} |`), '']
}

/** Every field below one, with its path from there; `[]` is each item of a list. */
function rows(path: string, schema: JsonObject, needed: readonly string[]): Row[] {
  const items = objectAt(schema, 'items')
  const below = Object.entries(objectAt(schema, 'properties'))
    .filter((entry): entry is [string, JsonObject] => isObject(entry[1]))
    .flatMap(([name, field]) => {
      const here = path === '' ? name : `${path}.${name}`
      const limits = [needed.includes(name) ? 'required' : '', field['default'] === undefined ? '' : `default \`${String(field['default'])}\``, limitsOf(field)].filter(each => each !== '').join('; ')
      const about = [textAt(field, 'description') ?? '', ...validations(field).map(each => `Rule: ${each}`)].filter(each => each !== '').join(' ')
      return [{ path: here, type: typeOf(field), limits, about }, ...rows(here, field, required(field))]
    })
  if (Object.keys(items).length === 0) return below
  const each = validations(items).join(' ')
  // What limits each text of a list stands with the list.
  const own = each === '' ? [] : [{ path: `${path}[]`, type: typeOf(items), limits: limitsOf(items), about: `Rule: ${each}` }]
  return [...below, ...own, ...rows(`${path}[]`, items, required(items))]
}

function required(schema: JsonObject): string[] {
  return [...stringsAt(schema, 'required')]
}

/** The rules in the words that the API server answers with. */
function validations(schema: JsonObject): string[] {
  const rules = objectsAt(schema, 'x-kubernetes-validations').map(each => `${(textAt(each, 'fieldPath') ?? '').replace(/^\.(.+)$/, '`$1` ')}${textAt(each, 'message') ?? ''}.`)
  return [...rules, ...(['set', 'map'].includes(String(schema['x-kubernetes-list-type'])) ? ['must not name one twice.'] : [])]
}

function typeOf(schema: JsonObject): string {
  const values = stringsAt(schema, 'enum')
  if (values.length > 0) return values.map(each => `\`${each}\``).join(' or ')
  if (schema['x-kubernetes-int-or-string'] === true) return 'number or text'
  const type = textAt(schema, 'type')
  if (type === 'array') return `list of ${plural(typeOf(objectAt(schema, 'items')))}`
  if (type === 'object') return isObject(schema['additionalProperties']) ? 'map of texts' : 'object'
  if (type === 'integer') return 'number'
  return textAt(schema, 'format') === 'date-time' ? 'time' : 'text'
}

function plural(type: string): string {
  return /^[a-z]+$/.test(type) ? `${type}s` : type
}

const LIMITS: Readonly<Record<string, (value: string) => string>> = {
  minItems: value => `at least ${value}`,
  maxItems: value => `at most ${value}`,
  maxProperties: value => `at most ${value} entries`,
  maxLength: value => `at most ${value} characters`,
  minimum: value => `at least ${value}`,
  maximum: value => `at most ${value}`,
  pattern: value => `\`${value}\``,
}

function limitsOf(schema: JsonObject): string {
  const own = Object.entries(LIMITS).flatMap(([name, say]) => (schema[name] === undefined ? [] : [say(String(schema[name]))]))
  const values = objectAt(schema, 'additionalProperties')
  const items = objectAt(schema, 'items')
  const inner = Object.keys(values).length > 0 ? `values ${limitsOf(values)}` : textAt(items, 'type') === 'string' && limitsOf(items) !== '' ? `each ${limitsOf(items)}` : ''
  return [...own, inner].filter(each => each !== '').join(', ')
}

function escaped(cell: string): string {
  return cell.replaceAll('|', String.raw`\|`)
}

function indent(text: string): string {
  return text.split('\n').map(line => `  ${line}`).join('\n')
}

/**
 * Which reasons each condition can have, read off the operator's source: a reason is a literal there, and nowhere else.
 * @param controllers the source of each controller, all files of its folder in one
 */
export function conditionReasons(controllers: readonly string[]): ConditionReasons[] {
  const found = controllers.flatMap(text => {
    const condition = /^export const CONDITION = '(\w+)'/m.exec(text)?.[1]
    const reasons = [...text.matchAll(/\bsay\([^,\n]+, '(\w+)'|\breason: '([A-Z]\w+)', message/g)].map(([, one, other]) => one ?? other ?? '')
    return condition === undefined ? [] : [{ condition, reasons: [...new Set(reasons)].sort() }]
  })
  return found.sort((a, b) => (a.condition < b.condition ? -1 : 1))
}
