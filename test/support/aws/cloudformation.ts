/** What CloudFormation makes of a template's intrinsic functions, as far as `hack/aws/` uses them: policies are tested as they are, not as text. */

import { CORE_SCHEMA, defineScalarTag, defineSequenceTag, load } from 'js-yaml'

import { isObject, objectAt } from '../../../src/policy/json.ts'
import type { Json, JsonObject } from '../../../src/policy/json.ts'

const NOTHING = 'AWS::NoValue'

/** @param values of parameters and of `AWS::…`; resources give what stands under their name */
export function evaluated(template: string, values: Readonly<Record<string, Json>>): JsonObject {
  const marked = (name: string, value: Json): JsonObject => ({ [`Fn::${name}`]: value })
  const scalars = ['Ref', 'Sub', 'GetAtt'].map(name => defineScalarTag(`!${name}`, { resolve: source => marked(name, source), identify: () => false }))
  const sequences = ['Sub', 'If', 'Not', 'Equals', 'Join', 'Select', 'Split'].map(name => defineSequenceTag(`!${name}`, { create: (): Json[] => [], addItem: (list, item) => void list.push(item as Json), finalize: list => marked(name, list), identify: () => false }))
  const schema = CORE_SCHEMA.withTags(...scalars, ...sequences)
  const document = load(template, { schema }) as JsonObject
  const defaults = Object.fromEntries(Object.entries(objectAt(document, 'Parameters')).map(([name, parameter]): [string, Json] => {
    const value = (isObject(parameter) ? parameter['Default'] : undefined) ?? ''
    return [name, isObject(parameter) && parameter['Type'] === 'CommaDelimitedList' ? String(value).split(',') : value]
  }))
  const known: Readonly<Record<string, Json>> = { 'AWS::Partition': 'aws', 'AWS::AccountId': '123456789012', 'AWS::Region': 'eu-west-1', ...defaults, ...values }
  const conditions = objectAt(document, 'Conditions')
  const list = (value: Json): readonly Json[] => (Array.isArray(value) ? value : [value])

  const value = (json: Json | undefined): Json => {
    if (Array.isArray(json)) return json.map(value).filter(each => each !== NOTHING)
    if (!isObject(json)) return json ?? null
    const [key, raw] = Object.entries(json)[0] ?? []
    if (key?.startsWith('Fn::') !== true) return Object.fromEntries(Object.entries(json).map(([name, each]): [string, Json] => [name, value(each)]).filter(([, each]) => each !== NOTHING))
    const args = Array.isArray(raw) ? raw : [raw ?? null]
    switch (key) {
      case 'Fn::Ref':
        return args[0] === NOTHING ? NOTHING : (known[String(args[0])] ?? String(args[0]))
      case 'Fn::GetAtt':
        return known[String(args[0])] ?? String(args[0])
      case 'Fn::Sub': {
        const own = value(args[1] ?? {})
        return String(args[0]).replaceAll(/\$\{([^}]+)\}/g, (_all, name: string) => String((isObject(own) ? own[name] : undefined) ?? known[name] ?? name))
      }
      case 'Fn::If':
        return value(conditions[String(args[0])]) === true ? value(args[1]) : value(args[2])
      case 'Fn::Not':
        return value(args[0]) !== true
      case 'Fn::Equals':
        return JSON.stringify(value(args[0])) === JSON.stringify(value(args[1]))
      case 'Fn::Join':
        return list(value(args[1])).map(String).join(String(args[0]))
      case 'Fn::Split':
        return String(value(args[1])).split(String(args[0]))
      case 'Fn::Select':
        return list(value(args[1]))[Number(args[0])] ?? null
      default:
        throw new Error(`${key} is not known`)
    }
  }
  return value(objectAt(document, 'Resources')) as JsonObject
}
