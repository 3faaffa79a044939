/** What `hack/aws/operator.yaml` lets the operator do, and its roles at most. */

import { readFileSync } from 'node:fs'

import { isObject, objectAt, objectsAt } from '../../../src/policy/json.ts'
import type { Json, JsonObject } from '../../../src/policy/json.ts'
import { evaluated } from './cloudformation.ts'
import { ACCOUNT, OPERATOR_ROLE } from './iam.ts'
import type { AccountOptions } from './iam.ts'
import { BOUNDARY, PROVIDER } from './installation.ts'
import type { AssumableRole } from './token-service.ts'

export const OPERATOR_TEMPLATE = readFileSync(new URL('../../../hack/aws/operator.yaml', import.meta.url), 'utf8')
export const WORKLOAD_POLICIES = ['arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess', 'arn:aws:iam::aws:policy/AmazonSQSReadOnlyAccess']

export const INJECTOR_ROLE = `arn:aws:iam::${ACCOUNT}:role/steno-injector`
const CONNECT_ROLES = ['arn:aws:iam::123456789012:role/teams/*', 'arn:aws:iam::123456789012:role/engineer']

export function operatorResources(parameters: Readonly<Record<string, Json>> = {}): JsonObject {
  return evaluated(OPERATOR_TEMPLATE, { OidcProviderArn: PROVIDER, ClusterName: 'prod', Boundary: BOUNDARY, WorkloadPolicyArns: WORKLOAD_POLICIES, ConnectRoleArns: CONNECT_ROLES, ...parameters })
}

export function operatorPolicy(parameters: Readonly<Record<string, Json>> = {}): JsonObject {
  return documentOf(objectAt(operatorResources(parameters), 'OperatorPolicy'))
}

/** An account in which the template was deployed: the roles of operator and injector, and the boundary. */
export function operatorAccount(parameters: Readonly<Record<string, Json>> = {}): Pick<AccountOptions, 'standing' | 'boundaries'> {
  const resources = operatorResources(parameters)
  const role = (name: string): AssumableRole => {
    const properties = objectAt(objectAt(resources, name), 'Properties')
    const trust: unknown = JSON.parse(String(properties['AssumeRolePolicyDocument']))
    if (!isObject(trust)) throw new Error(`${name} has no trust`)
    return { trust, limits: [objectsAt(properties, 'Policies').map(each => objectAt(each, 'PolicyDocument'))] }
  }
  return { standing: { [OPERATOR_ROLE]: role('OperatorRole'), [INJECTOR_ROLE]: role('InjectorRole') }, boundaries: { [BOUNDARY]: documentOf(objectAt(resources, 'Boundary')) } }
}

function documentOf(resource: JsonObject): JsonObject {
  const document = objectAt(resource, 'Properties')['PolicyDocument']
  if (!isObject(document)) throw new Error('the template has no such policy')
  return document
}
