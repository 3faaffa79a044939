/**
 * Other webhooks and the API server's own plugins add to our containers: a default limit, a mount, a variable. What does no harm stays, or two
 * webhooks would undo each other for ever. What could turn the recorder into something else goes.
 */

import { isObject, objectAt, textAt } from '../policy/json.ts'
import type { Json, JsonObject } from '../policy/json.ts'

/** Variables that change which program runs, whom it trusts or where it sends. */
const HARMFUL_VARIABLE = /^(?:PATH$|GCONV_PATH$|NODE_|STENO_|LD_|SSL_|OPENSSL_|AWS_(?:ENDPOINT_URL|ROLE_|WEB_IDENTITY|ACCESS_KEY|SECRET|SESSION|PROFILE|CONFIG_FILE|SHARED_CREDENTIALS|CONTAINER_|CA_BUNDLE)|(?:HTTPS?|ALL|NO)_PROXY$|(?:https?|all|no)_proxy$)/

/** Folders of the image, in which the program, its libraries and what they trust lie. */
const IMAGE_FOLDERS = ['/bin', '/sbin', '/lib', '/lib32', '/lib64', '/usr', '/opt/steno', '/etc', '/proc', '/sys', '/dev']

/** @param earlier the container as it stands in the pod; absent on the first run */
export function keepAdditions(wanted: JsonObject, earlier: JsonObject | undefined): JsonObject {
  if (earlier === undefined) return wanted
  return {
    ...wanted,
    ...(wanted['env'] === undefined && earlier['env'] === undefined ? {} : { env: merged(wanted['env'], earlier['env'], 'name', each => !HARMFUL_VARIABLE.test(textAt(each, 'name') ?? '')) }),
    ...(wanted['volumeMounts'] === undefined && earlier['volumeMounts'] === undefined ? {} : { volumeMounts: merged(wanted['volumeMounts'], earlier['volumeMounts'], 'mountPath', each => !hides(each, wanted)) }),
    resources: withAddedResources(objectAt(wanted, 'resources'), objectAt(earlier, 'resources')),
  }
}

/** Whether what is mounted lies over, in or above a folder of the image or a mount of ours. */
function hides(mount: JsonObject, wanted: JsonObject): boolean {
  const place = partsOf(textAt(mount, 'mountPath') ?? '')
  const kept = [...IMAGE_FOLDERS, ...objects(wanted['volumeMounts']).map(each => textAt(each, 'mountPath') ?? '')].map(partsOf)
  return place.includes('..') || kept.some(folder => folder.slice(0, place.length).every((part, index) => part === place[index]))
}

function partsOf(path: string): readonly string[] {
  return path.split('/').filter(part => part !== '' && part !== '.')
}

/** In the order in which they stand; ours as wanted, what is missing at the end. */
function merged(wanted: Json | undefined, earlier: Json | undefined, key: string, mayStay: (entry: JsonObject) => boolean): JsonObject[] {
  const ours = objects(wanted)
  const kept = objects(earlier)
    .filter(entry => ours.some(each => each[key] === entry[key]) || mayStay(entry))
    .map(entry => ours.find(each => each[key] === entry[key]) ?? entry)
  return [...kept, ...ours.filter(each => !kept.includes(each))]
}

/** Kinds of resources that we do not speak of, such as a default limit of CPU. One that starves the recorder below its request would not be admitted. */
function withAddedResources(wanted: JsonObject, earlier: JsonObject): JsonObject {
  const lists = ['limits', 'requests'].map(list => [list, { ...objectAt(earlier, list), ...objectAt(wanted, list) }] as const)
  return { ...wanted, ...Object.fromEntries(lists.filter(([, amounts]) => Object.keys(amounts).length > 0)) }
}

function objects(value: Json | undefined): readonly JsonObject[] {
  return Array.isArray(value) ? value.filter(isObject) : []
}
