DROP SEQUENCE IF EXISTS public.lookup_id_seq;
ALTER TABLE IF EXISTS ONLY public.currency DROP CONSTRAINT IF EXISTS currency_pkey;
ALTER TABLE IF EXISTS ONLY public.country DROP CONSTRAINT IF EXISTS country_pkey;
DROP TABLE IF EXISTS public.currency;
DROP TABLE IF EXISTS public.country;
