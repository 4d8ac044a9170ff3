package orchestrator

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// shelf is a store with runs, a day each since the first of November, whose journals say what their words do: a kind, a
// state, the exit code, and of which run they are a retry. "none" has no journal, "damaged" one that is.
func shelf(t *testing.T, runs ...string) (store *Store, ids []string) {
	t.Helper()
	store, err := Open(t.TempDir() + "/state")
	if err != nil {
		t.Fatal(err)
	}
	for i, words := range runs {
		id := fmt.Sprintf("202611%02dT040000Z-%06d", i+1, i)
		ids = append(ids, id)
		if err := os.Mkdir(store.runDir(id), 0o700); err != nil {
			t.Fatal(err)
		}
		if words == "none" {
			continue
		}
		text := "{"
		if words != "damaged" {
			var kind, state, code string
			of := -1
			fmt.Sscan(words, &kind, &state, &code, &of)
			text = fmt.Sprintf(`{"version": 1, "id": %q, "kind": %q, "state": %q, "exit_code": %s`, id, kind, state, code)
			if of >= 0 {
				text += fmt.Sprintf(`, "of": %q`, ids[of])
			}
			text += "}"
		}
		if err := os.WriteFile(store.runDir(id)+"/journal.json", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return store, ids
}

func TestTidy(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	const well, bad, day = "full passed 0", "full halted 3", 24 * time.Hour
	for name, c := range map[string]struct {
		keep   Keep
		runs   []string
		pinned []int
		stay   string // indexes
	}{
		"nothing is beyond":                   {Keep{Runs: 3, Age: 40 * day}, []string{well, well, well}, nil, "0 1 2"},
		"without bounds":                      {Keep{}, slices.Repeat([]string{well}, 9), nil, "0 1 2 3 4 5 6 7 8"},
		"by number, but for those of windows": {Keep{Runs: 2}, slices.Repeat([]string{well}, 8), nil, "3 4 5 6 7"},
		"by number":                           {Keep{Runs: 6}, slices.Repeat([]string{well}, 8), nil, "2 3 4 5 6 7"},
		"by age":                              {Keep{Age: 23 * day}, slices.Repeat([]string{well}, 16), nil, "7 8 9 10 11 12 13 14 15"},
		"the last success":                    {Keep{Runs: 1}, []string{well, well, bad, bad, bad}, nil, "0 1 4"},
		"no success at all":                   {Keep{Runs: 1}, []string{bad, bad, bad}, nil, "2"},
		"a success within the budget":         {Keep{Runs: 1}, append([]string{well, bad}, slices.Repeat([]string{"full passed 4"}, 6)...), nil, "0 3 4 5 6 7"},
		"a retry that was the success":        {Keep{Runs: 1}, []string{well, bad, "retry halted 3 1", "retry passed 0 2", bad, bad}, nil, "0 1 2 3 5"},
		"dry runs hide nothing":               {Keep{Runs: 1}, []string{bad, "narrowed halted 3", "check passed 0", "check passed 0"}, nil, "0 1 3"},
		"one that has not ended":              {Keep{Runs: 1}, []string{"full running null", bad, "full awaiting-reboot null", bad}, nil, "0 2 3"},
		"one that cannot be read":             {Keep{Runs: 1}, []string{"damaged", "none", bad, bad}, nil, "0 3"},
		"the latest has no journal yet":       {Keep{Runs: 1}, []string{bad, bad, "none"}, nil, "1 2"},
		"one that is pinned":                  {Keep{Runs: 1}, []string{bad, bad, bad}, []int{0}, "0 2"},
	} {
		t.Run(name, func(t *testing.T) {
			store, ids := shelf(t, c.runs...)
			lock, err := store.Lock()
			if err != nil {
				t.Fatal(err)
			}
			defer lock.Close()
			removed, err := lock.Tidy(c.keep, now, func(id string) bool { return slices.Contains(c.pinned, slices.Index(ids, id)) })
			if err != nil {
				t.Fatal(err)
			}
			left, err := store.IDs()
			if err != nil {
				t.Fatal(err)
			}
			var stay []string
			for i, id := range ids {
				if is := slices.Contains(left, id); is == slices.Contains(removed, id) {
					t.Errorf("run %d is there: %v, and removed: %v", i, is, !is)
				} else if is {
					stay = append(stay, fmt.Sprint(i))
				}
			}
			if got := strings.Join(stay, " "); got != c.stay {
				t.Errorf("%s stay, want %s", got, c.stay)
			}
		})
	}
}
