// A library, and no model.

extern "C" int penstock_is_no_model() {
  return 1;
}
