/* The largest of k numbers that lie n apart, for each of n: the first of the largest, or the first nan. It replaces the
   first of the k, and which it was goes to `which`. */
static void largest_of(real *seen, real *which, ptrdiff_t k, ptrdiff_t n)
{
    for (ptrdiff_t x = 0; x < n; x += LANES) {
        vec most = load_up_to(seen + x, n - x), index = broadcast(0);
        for (ptrdiff_t i = 1; i < k; i++) {
            vec v = load_up_to(seen + i * n + x, n - x);
            mask stays = less_equal(v, most), number = equal(most, most);
            index = choose(stays, index, choose(number, broadcast((real)i), index));
            most = choose(stays, most, choose(number, v, most));
        }
        store_up_to(seen + x, most, n - x);
        store_up_to(which + x, index, n - x);
    }
}
