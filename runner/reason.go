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
	if hidden := strings.TrimSpace(texts["censored"]); hidden != "" {
		return hidden // 2.19 keeps the exception beside it
	}
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

// items takes what must not be kept out of the results of a loop, and says why
// the first item that failed did so. Results that cannot be read, because they
// were cut, stay as they are: they are not kept.
func items(results []byte) (kept []byte, why string) {
	var list []map[string]json.RawMessage
	if json.Unmarshal(results, &list) != nil {
		return results, ""
	}
	for _, item := range list {
		delete(item, "invocation")
		if item["censored"] != nil {
			delete(item, "exception")
		}
		if why == "" && truth(item["failed"]) {
			why = itemReason(item)
		}
	}
	kept, err := json.Marshal(list)
	if err != nil {
		return results, why
	}
	return kept, why
}

func itemReason(item map[string]json.RawMessage) string {
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
