package runner

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
)

// reasons are the members of a result that say why it failed, the best first.
// The carried callback plugin has the same list.
var reasons = []string{"censored", "msg", "reason", "stderr", "stdout", "module_stderr", "module_stdout", "exception"}

const (
	maxReason = 2000     // characters
	maxText   = 16 << 10 // bytes of each text that are looked at
)

// reason puts the two best texts together.
func reason(texts map[string]string) string {
	var parts []string
	for _, name := range reasons {
		// 2.19 puts words of its own before and, for want of a traceback, after.
		t := strings.TrimPrefix(strings.TrimSpace(texts[name]), "Task failed: ")
		if t != "" && t != "(traceback unavailable)" && !slices.Contains(parts, t) && len(parts) < 2 {
			parts = append(parts, t)
		}
	}
	words := []rune(strings.Join(parts, ": "))
	if len(words) > maxReason {
		words = append(words[:maxReason-1], '…')
	}
	return string(words)
}

// failedItem says why the first item of a loop that failed did so, if the
// results can be read.
func failedItem(results []byte) string {
	var items []map[string]json.RawMessage
	if json.Unmarshal(results, &items) != nil {
		return ""
	}
	for _, item := range items {
		if !truth(item["failed"]) {
			continue
		}
		texts := map[string]string{}
		for _, name := range reasons {
			texts[name] = text(item[name], 0)
		}
		label := item["_ansible_item_label"]
		if label == nil {
			label = item[cmp.Or(text(item["ansible_loop_var"], 0), "item")]
		}
		if words := cmp.Or(text(label, 0), string(label)); words != "" && item["censored"] == nil {
			return "item " + words + ": " + reason(texts)
		}
		return reason(texts)
	}
	return ""
}

// truth is what Python would take a value for.
func truth(raw []byte) bool {
	switch string(raw) {
	case "", "null", "false", "0", `""`, "[]", "{}":
		return false
	}
	return true
}

// text is a string, or strings in an array, in JSON; "" for anything else. Of
// one that was cut it is what was kept.
func text(raw []byte, cut int) string {
	if len(raw) == 0 || raw[0] != '"' {
		var list []string
		json.Unmarshal(raw, &list)
		return strings.Join(list, "; ")
	}
	var s string
	if cut == 0 {
		json.Unmarshal(raw, &s)
		return s
	}
	const longest = len(`\ud83d\ude00`) // of what may have been cut in two
	for end := len(raw); end > 0 && end >= len(raw)-longest; end-- {
		if json.Unmarshal(append(raw[:end:end], '"'), &s) == nil {
			break
		}
	}
	return s
}
