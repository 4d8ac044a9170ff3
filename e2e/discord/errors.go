package discord

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
)

// formErrors are the errors of a form, nested as its members are. The list of a member's own errors is under "_errors":
// https://docs.discord.com/developers/reference#error-messages
type formErrors map[string]any

// add notes an error at a path: "embeds", "0", "title".
func (e formErrors) add(code, message string, path ...string) {
	at := e
	for _, name := range path {
		next, ok := at[name].(formErrors)
		if !ok {
			next = formErrors{}
			at[name] = next
		}
		at = next
	}
	list, _ := at["_errors"].([]map[string]string)
	at["_errors"] = append(list, map[string]string{"code": code, "message": message})
}

func (e formErrors) tooLong(limit int, path ...string) {
	e.add("BASE_TYPE_MAX_LENGTH", fmt.Sprintf("Must be %d or fewer in length.", limit), path...)
}

func (e formErrors) badLength(least, most int, path ...string) {
	e.add("BASE_TYPE_BAD_LENGTH", fmt.Sprintf("Must be between %d and %d in length.", least, most), path...)
}

func (e formErrors) required(path ...string) {
	e.add("BASE_TYPE_REQUIRED", "This field is required", path...)
}

// old is the same in the words of versions before 8, which a URL without a version still gets: the messages of each
// top-level member, or the names of its own members. Hence the famous {"embeds": ["0"]}.
func (e formErrors) old() map[string][]string {
	all := map[string][]string{}
	for name, value := range e {
		below, ok := value.(formErrors)
		if !ok {
			continue
		}
		list, _ := below["_errors"].([]map[string]string)
		for _, one := range list {
			all[name] = append(all[name], one["message"])
		}
		for child := range below {
			if child != "_errors" {
				all[name] = append(all[name], child)
			}
		}
		slices.Sort(all[name])
	}
	return all
}

// refusal is an answer that is not what the client wanted.
type refusal struct {
	status  int
	code    int
	message string
	form    formErrors
}

func (r refusal) write(w http.ResponseWriter, version int) {
	switch {
	case r.form == nil:
		answer(w, r.status, map[string]any{"message": r.message, "code": r.code})
	case version < 8:
		answer(w, r.status, r.form.old())
	default:
		answer(w, r.status, map[string]any{"message": r.message, "code": r.code, "errors": r.form})
	}
}

// answer writes a body of JSON.
func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}
