//go:build e2efull

package ara

import (
	"fmt"
	"reflect"
	"slices"
)

// results compares the results of two records one by one.
func results(theirs, ours record, same func(string, any, any), diff func(why, format string, args ...any)) []difference {
	keyed := func(r record) (keys []string, by map[string][]thing) {
		by = map[string][]thing{}
		for _, res := range r.results {
			t := slices.IndexFunc(r.tasks, func(t thing) bool { return t["id"] == res["task"].(thing)["id"] })
			key := fmt.Sprintf("task %d on %s", t, res["host"].(thing)["name"])
			if by[key] == nil {
				keys = append(keys, key)
			}
			by[key] = append(by[key], res)
		}
		slices.Sort(keys)
		return keys, by
	}
	a, theirsBy := keyed(theirs)
	b, oursBy := keyed(ours)
	same("results", a, b)
	if !reflect.DeepEqual(a, b) {
		return nil
	}
	delegated := func(r thing) []string {
		names := []string{}
		for _, h := range r["delegated_to"].([]any) {
			names = append(names, h.(thing)["name"].(string))
		}
		slices.Sort(names)
		return slices.Compact(names)
	}
	for _, key := range a {
		same("number of results of "+key, len(theirsBy[key]), len(oursBy[key]))
		for i := range min(len(theirsBy[key]), len(oursBy[key])) {
			x, y := theirsBy[key][i], oursBy[key][i]
			same(key, pick([]thing{x}, "status", "changed", "ignore_errors"), pick([]thing{y}, "status", "changed", "ignore_errors"))
			if dx, dy := delegated(x), delegated(y); !slices.Equal(dx, dy) {
				why := ""
				if len(dy) > 0 && !slices.ContainsFunc(dy, func(h string) bool { return !slices.Contains(dx, h) }) {
					why = whyDelegated
				}
				diff(why, "%s: delegated_to: theirs %v, ours %v", key, dx, dy)
			}
			if n := without(x["content"], "invocation"); n > 0 {
				diff(whyInvocation, "%s: invocation", key)
			}
			same(key+": content", x["content"], y["content"])
		}
	}
	return nil
}

// without removes a key at every depth, and says how often it was there.
func without(v any, key string) (n int) {
	switch v := v.(type) {
	case thing:
		if _, ok := v[key]; ok {
			n++
			delete(v, key)
		}
		for _, each := range v {
			n += without(each, key)
		}
	case []any:
		for _, each := range v {
			n += without(each, key)
		}
	}
	return n
}
