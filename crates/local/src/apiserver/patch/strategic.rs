//! Strategic merge patches: a merge patch whose lists merge by key, with directives.
//!
//! ```text
//! $patch: replace | delete | merge       in an object, or in an item of a list
//! $retainKeys: [a, b]                    drops the object's other keys
//! $setElementOrder/<list>: […]           the order of the list's items
//! $deleteFromPrimitiveList/<list>: […]   removes plain values
//! ```

use serde_json::{Map, Value};

use crate::apiserver::object;
use crate::apiserver::schema::resolve;

const PATCH: &str = "$patch";
const RETAIN: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder/";
const DELETE: &str = "$deleteFromPrimitiveList/";

/// Merges `patch` into `target`, an object of the named definition.
pub(super) fn merge(
    target: &mut Value,
    patch: &Value,
    definition: &str,
    definitions: &Map<String, Value>,
) -> Result<(), String> {
    let merger = Merger { definitions };
    let schema = definitions.get(definition).unwrap_or(&Value::Null);
    merger.object(target, patch, schema)
}

struct Merger<'a> {
    definitions: &'a Map<String, Value>,
}

// === impl Merger ===

impl Merger<'_> {
    fn object(&self, target: &mut Value, patch: &Value, schema: &Value) -> Result<(), String> {
        let Value::Object(patch) = patch else {
            *target = patch.clone();
            return Ok(());
        };
        match patch
            .get(PATCH)
            .map(|directive| directive.as_str().unwrap_or_default())
        {
            None | Some("merge") => {}
            Some("replace") => {
                *target = Value::Object(Map::new());
            }
            Some("delete") => {
                *target = Value::Object(Map::new());
                return Ok(());
            }
            Some(other) => return Err(format!("unknown $patch directive: {other:?}")),
        }
        let target = object::map(target);
        if let Some(keys) = patch.get(RETAIN).and_then(Value::as_array) {
            target.retain(|key, _| keys.iter().any(|kept| kept == key.as_str()));
        }
        let (schema, _) = resolve(schema, "", self.definitions);
        for (key, value) in patch {
            if let Some(list) = key.strip_prefix(DELETE) {
                delete_values(target, list, value)?;
            } else if !key.starts_with('$') {
                let schema = property(schema, key);
                let order = patch.get(&format!("{ORDER}{key}"));
                self.field(target, key, value, schema, order)?;
            }
        }
        // An order may come without any change of the list itself.
        for (key, order) in patch {
            if let Some(list) = key.strip_prefix(ORDER)
                && !patch.contains_key(list)
                && let Some(Value::Array(items)) = target.get_mut(list)
            {
                let original = items.clone();
                sort(items, &original, order, merge_key(property(schema, list)));
            }
        }
        Ok(())
    }

    fn field(
        &self,
        target: &mut Map<String, Value>,
        key: &str,
        patch: &Value,
        schema: &Value,
        order: Option<&Value>,
    ) -> Result<(), String> {
        match patch {
            Value::Null => {
                target.remove(key);
                Ok(())
            }
            Value::Object(_) => {
                let entry = target.entry(key).or_insert(Value::Null);
                let (schema, _) = resolve(schema, "", self.definitions);
                self.object(entry, patch, schema)
            }
            Value::Array(items) => {
                let entry = target.entry(key).or_insert(Value::Null);
                if entry.is_null() {
                    *entry = Value::Array(Vec::new());
                }
                let Value::Array(list) = entry else {
                    return Err(format!("{key} is not a list"));
                };
                self.list(list, items, schema, order)
                    .map_err(|error| format!("{key}: {error}"))
            }
            plain => {
                target.insert(key.to_owned(), plain.clone());
                Ok(())
            }
        }
    }

    fn list(
        &self,
        target: &mut Vec<Value>,
        patch: &[Value],
        schema: &Value,
        order: Option<&Value>,
    ) -> Result<(), String> {
        let strategy = object::text(schema, &["x-kubernetes-patch-strategy"]);
        let is_merged = strategy.split(',').any(|word| word == "merge");
        let replaces = patch.iter().any(|item| is_directive(item, "replace"));
        if !is_merged || replaces {
            *target = patch
                .iter()
                .filter(|item| item.get(PATCH).is_none())
                .cloned()
                .collect();
            return Ok(());
        }
        let original = target.clone();
        let key = merge_key(schema);
        if key.is_empty() {
            for value in patch {
                if !target.contains(value) {
                    target.push(value.clone());
                }
            }
        } else {
            let items = schema.get("items").unwrap_or(&Value::Null);
            for item in patch {
                self.item(target, item, items, key)?;
            }
        }
        if let Some(order) = order {
            sort(target, &original, order, key);
        }
        Ok(())
    }

    fn item(
        &self,
        target: &mut Vec<Value>,
        patch: &Value,
        schema: &Value,
        key: &str,
    ) -> Result<(), String> {
        let id = patch
            .get(key)
            .ok_or_else(|| format!("an item does not contain its merge key {key:?}"))?;
        let same = |item: &Value| item.get(key) == Some(id);
        if is_directive(patch, "delete") {
            target.retain(|item| !same(item));
            return Ok(());
        }
        if let Some(item) = target.iter_mut().find(|item| same(item)) {
            return self.object(item, patch, schema);
        }
        let mut item = Value::Object(Map::new());
        self.object(&mut item, patch, schema)?;
        target.push(item);
        Ok(())
    }
}

fn is_directive(item: &Value, directive: &str) -> bool {
    item.get(PATCH).is_some_and(|found| found == directive)
}

fn merge_key(schema: &Value) -> &str {
    object::text(schema, &["x-kubernetes-patch-merge-key"])
}

/// The schema of a property, or of the values of a map.
fn property<'a>(schema: &'a Value, key: &str) -> &'a Value {
    object::at(schema, &["properties", key])
        .or_else(|| schema.get("additionalProperties"))
        .unwrap_or(&Value::Null)
}

fn delete_values(
    target: &mut Map<String, Value>,
    list: &str,
    values: &Value,
) -> Result<(), String> {
    let values = values
        .as_array()
        .ok_or_else(|| format!("{DELETE}{list} must be a list"))?;
    if let Some(Value::Array(items)) = target.get_mut(list) {
        items.retain(|item| !values.contains(item));
    }
    Ok(())
}

/// Sorts a merged list: items that the client knows in the client's order, the others where they
/// were relative to them.
fn sort(items: &mut Vec<Value>, original: &[Value], order: &Value, key: &str) {
    let Some(order) = order.as_array() else {
        return;
    };
    let id = |item: &Value| -> Value {
        match key {
            "" => item.clone(),
            key => item.get(key).cloned().unwrap_or_default(),
        }
    };
    let rank = |item: &Value| order.iter().position(|one| id(one) == id(item));
    let place = |item: &Value| original.iter().position(|one| id(one) == id(item));
    let (mut known, mut others): (Vec<Value>, Vec<Value>) = std::mem::take(items)
        .into_iter()
        .partition(|item| rank(item).is_some());
    known.sort_by_key(|item| rank(item));
    others.sort_by_key(|item| place(item));
    let mut known = known.into_iter().peekable();
    let mut others = others.into_iter().peekable();
    loop {
        let takes_other = match (known.peek(), others.peek()) {
            (None, None) => return,
            (None, Some(_)) => true,
            (Some(_), None) => false,
            (Some(one), Some(other)) => match place(one) {
                Some(position) => place(other).is_some_and(|place| place < position),
                None => false,
            },
        };
        items.extend(if takes_other {
            others.next()
        } else {
            known.next()
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::definitions;
    use super::*;

    fn patched(target: Value, patch: &Value) -> Value {
        let mut target = target;
        merge(
            &mut target,
            patch,
            "io.k8s.api.apps.v1.Deployment",
            definitions(),
        )
        .unwrap();
        target
    }

    fn with_containers(containers: &Value) -> Value {
        json!({"spec": {"template": {"spec": {"containers": containers}}}})
    }

    #[test]
    fn containers_merge_by_name() {
        let old = with_containers(&json!([{"name": "a", "image": "a:1"}, {"name": "b"}]));
        let patch = with_containers(&json!([{"name": "a", "image": "a:2"}, {"name": "c"}]));
        assert_eq!(
            patched(old, &patch),
            with_containers(&json!([{"name": "a", "image": "a:2"}, {"name": "b"}, {"name": "c"}]))
        );
    }

    #[test]
    fn an_item_is_deleted_and_a_list_replaced_by_directive() {
        let old = || with_containers(&json!([{"name": "a"}, {"name": "b"}]));
        let delete = with_containers(&json!([{"name": "a", "$patch": "delete"}]));
        assert_eq!(
            patched(old(), &delete),
            with_containers(&json!([{"name": "b"}]))
        );
        let replace = with_containers(&json!([{"name": "c"}, {"$patch": "replace"}]));
        assert_eq!(
            patched(old(), &replace),
            with_containers(&json!([{"name": "c"}]))
        );
    }

    #[test]
    fn the_order_of_items_is_the_clients() {
        let old = with_containers(&json!([{"name": "a"}, {"name": "injected"}, {"name": "b"}]));
        let patch = json!({"spec": {"template": {"spec": {
            "$setElementOrder/containers": [{"name": "b"}, {"name": "a"}, {"name": "c"}],
            "containers": [{"name": "c"}],
        }}}});
        assert_eq!(
            patched(old, &patch),
            with_containers(&json!([
                {"name": "injected"}, {"name": "b"}, {"name": "a"}, {"name": "c"},
            ]))
        );
    }

    #[test]
    fn plain_values_merge_and_are_deleted_by_value() {
        let old = json!({"metadata": {"finalizers": ["a", "b"]}});
        let patch = json!({"metadata": {
            "finalizers": ["c"], "$deleteFromPrimitiveList/finalizers": ["a"],
        }});
        let new = patched(old, &patch);
        let mut finalizers: Vec<_> = object::finalizers(&new).collect();
        finalizers.sort_unstable();
        assert_eq!(finalizers, ["b", "c"]);
    }

    #[test]
    fn keys_that_are_not_retained_are_dropped() {
        let old = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {}}}});
        let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
        assert_eq!(
            patched(old, &patch),
            json!({"spec": {"strategy": {"type": "Recreate"}}})
        );
    }

    #[test]
    fn null_removes_and_lists_without_key_are_replaced() {
        let old = json!({"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"template":
            {"spec": {"tolerations": [{"key": "x"}]}}}});
        let patch = json!({"metadata": {"labels": {"a": null}}, "spec": {"template":
            {"spec": {"tolerations": [{"key": "y"}]}}}});
        assert_eq!(
            patched(old, &patch),
            json!({"metadata": {"labels": {"b": "2"}}, "spec": {"template":
                {"spec": {"tolerations": [{"key": "y"}]}}}})
        );
    }
}
