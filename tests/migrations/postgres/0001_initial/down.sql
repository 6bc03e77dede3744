--
-- Alter unique_together for site (1 constraint(s)); see the model's Meta
--
ALTER TABLE "members_site" DROP CONSTRAINT "members_site_owner_id_slug_5c2d1f9a_uniq";
--
-- Delete model Site
--
DROP TABLE "members_site" CASCADE;
--
-- Delete model Member
--
DROP TABLE "members_member" CASCADE;
