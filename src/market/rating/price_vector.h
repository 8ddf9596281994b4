// Rating as the market uses it. It lives in meter/, because a receipt repeats it: what charges and
// what checks the charge are one function.
#pragma once

#include "meter/price_vector.h"

namespace tg::market {

using meter::check;
using meter::ClassVector;
using meter::Consumption;
using meter::kChargeMax;
using meter::kRatedByteSecondsMax;
using meter::kRatedClasses;
using meter::kRatedTokensMax;
using meter::kResidencyPriceMax;
using meter::kTokenClasses;
using meter::kTokenPriceMax;
using meter::kWorkPriceMax;
using meter::name;
using meter::PriceVector;
using meter::PriceViews;
using meter::rate;
using meter::RatedClass;
using meter::Rater;
using meter::tokens_of;
using meter::units_per_price;
using meter::views;

}  // namespace tg::market
